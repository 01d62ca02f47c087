"""A stand-in for Modal: the real client and the real container runtime talk gRPC to it; images are built, functions run in
containers of their own (namespaces over overlays), volumes, dicts and secrets are kept, and faults are done on request.
"""
