"""A stand-in for EC2 on one machine: moto answers, a layer in front of it adds what moto leaves out, and every instance boots:
a real sshd in its own PID, mount and UTS namespace, with user data, a console, IMDSv2, and ways to be interrupted.

`client.StandIn` starts it and is what tests talk to. It needs root, sshd, util-linux and overlayfs.
"""
