"""Kernel files: where they come from, what is inside them, and the user's cache that keeps them unpacked.

`store` is the door: `find` resolves what `--kernel` names, `add` takes files in. `apt` fetches a distribution's packages, `deb` reads
them, `payload` undoes compression, `image` tells what a kernel file is.
"""
