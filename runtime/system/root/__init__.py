"""What a booted guest kernel runs, and where from: initramfs, first process, the root that the host shows, and the channel between.

`initramfs` is what the kernel starts with. Its init (stdlib/guest/init.c) talks to `channel` through trap instructions; `fuse` answers
what the guest's kernel asks of the root, a `tree` of the host or of memory; `command` is what runs in it and `streams` what that reads.
"""
