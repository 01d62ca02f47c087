"""Jobs on machines that are reached over SSH: what every such cloud shares. Needs asyncssh and packaging."""
