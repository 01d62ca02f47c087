"""A stand-in for Modal: its control plane, and its workers, on one machine.

The real client and the real container runtime talk to it. A container is a process in namespaces of its own, over
layers of this machine's root.
"""
