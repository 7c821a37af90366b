"""What a kernel tells about itself: symbols, types, trace events, and what it refuses to probe.

All of it is read from the kernel's memory as it is linked, laid out from its image file or found in the RAM of a booted machine
(`memory`), so nothing has to run. `facts` puts the parts together and keeps them in the cache.
"""
