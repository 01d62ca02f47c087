"""The catalogue: GPU machines of EC2 that Tenyson knows, with the price on demand in us-east-1 on the day below.

Prices change and differ by region: `tenyson_aws.prices.price` asks AWS for today's, and says so where it has only these.
Sources: the instance types' pages at aws.amazon.com/ec2/instance-types, and aws.amazon.com/ec2/pricing/on-demand.
"""

from __future__ import annotations

from dataclasses import dataclass

PRICED_ON = "2025-11-01"
"""The day of the prices below, us-east-1, Linux, on demand."""


@dataclass(frozen=True)
class Machine:
    """One instance type."""

    name: str
    gpu: str
    gpus: int
    gpu_memory_gb: float
    """Of one GPU."""
    vcpus: int
    per_hour: float
    """US dollars."""


MACHINES = {
    machine.name: machine
    for machine in (
        Machine("g4dn.xlarge", "T4", 1, 16, 4, 0.526),
        Machine("g4dn.2xlarge", "T4", 1, 16, 8, 0.752),
        Machine("g6.xlarge", "L4", 1, 24, 4, 0.8048),
        Machine("g6.2xlarge", "L4", 1, 24, 8, 0.9776),
        Machine("g5.xlarge", "A10G", 1, 24, 4, 1.006),
        Machine("g5.2xlarge", "A10G", 1, 24, 8, 1.212),
        Machine("g6.4xlarge", "L4", 1, 24, 16, 1.3232),
        Machine("g5.4xlarge", "A10G", 1, 24, 16, 1.624),
        Machine("g6e.xlarge", "L40S", 1, 48, 4, 1.861),
        Machine("g6e.2xlarge", "L40S", 1, 48, 8, 2.24208),
        Machine("g6e.4xlarge", "L40S", 1, 48, 16, 3.00424),
        Machine("g5.12xlarge", "A10G", 4, 24, 48, 5.672),
        Machine("p5.4xlarge", "H100", 1, 80, 16, 6.88),
        Machine("p4d.24xlarge", "A100", 8, 40, 96, 21.957642),
        Machine("p4de.24xlarge", "A100", 8, 80, 96, 27.44705),
        Machine("p5.48xlarge", "H100", 8, 80, 192, 55.04),
        Machine("p5en.48xlarge", "H200", 8, 141, 192, 63.296),
    )
}


def with_gpu_memory(gb: float) -> list[str]:
    """Types whose GPU has at least so much memory, the cheapest first; at most six, all with as few GPUs as possible."""
    fitting = sorted(
        (machine for machine in MACHINES.values() if machine.gpu_memory_gb >= gb),
        key=lambda machine: (machine.gpus, machine.per_hour),
    )
    fewest = [machine for machine in fitting if machine.gpus == fitting[0].gpus]
    return [machine.name for machine in fewest[:6]]
