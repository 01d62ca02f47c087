"""The machine image: the one that is asked for, else AWS's current deep-learning base image of the region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tenyson_aws.api.clients import Clients
from tenyson_aws.api.failures import AWSError, aws_errors, code_of, explained

PARAMETER = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
"""A public parameter of SSM that AWS keeps up to date."""
NAME_PATTERN = "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04) *"
"""What describe_images looks for where the parameter cannot be read."""


@dataclass(frozen=True)
class Image:
    """An image and what of it a launch needs to know."""

    id: str
    root_device: str
    found_by: str


def find_image(clients: Clients, image_id: str | None) -> Image:
    """Raises: AWSError: there is no such image here, or it may not be looked up."""
    if image_id is not None:
        return _describe(clients, image_id, "backend.settings.image_id")
    try:
        found = clients.make("ssm").get_parameter(Name=PARAMETER)["Parameter"]["Value"]
        return _describe(clients, found, f"the SSM parameter {PARAMETER}")
    except aws_errors() as error:
        why = code_of(error)[0] or str(error)
    try:
        filters = [{"Name": "name", "Values": [NAME_PATTERN]}, {"Name": "state", "Values": ["available"]}]
        images = clients.ec2.describe_images(Owners=["amazon"], Filters=filters)["Images"]
    except aws_errors() as error:
        raise explained(error, "cannot look for a machine image") from error
    if not images:
        raise AWSError(
            f"there is no deep-learning image in {clients.region} (parameter {PARAMETER}: {why})",
            "configuration",
            next_step="Set backend.settings.image_id to an image with an NVIDIA driver, Ubuntu or Debian.",
        )
    newest = max(images, key=lambda image: str(image.get("CreationDate", "")))
    return _image(newest, f"its name, {NAME_PATTERN!r}")


def _describe(clients: Clients, image_id: str, found_by: str) -> Image:
    try:
        images = clients.ec2.describe_images(ImageIds=[image_id])["Images"]
    except aws_errors() as error:
        raise explained(error, f"cannot use the image {image_id}") from error
    if not images:
        raise AWSError(f"there is no image {image_id} in {clients.region}", "configuration")
    return _image(images[0], found_by)


def _image(described: dict[str, Any], found_by: str) -> Image:
    return Image(described["ImageId"], described.get("RootDeviceName") or "/dev/sda1", found_by)
