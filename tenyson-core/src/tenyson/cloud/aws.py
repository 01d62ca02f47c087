"""The import path of AWSManager; its code lives in the plugin tenyson-aws."""

from tenyson.errors import MissingDependencyError

try:
    from tenyson_aws.manager import AWSManager
except ModuleNotFoundError as error:
    # A plugin that is there but lacks a dependency of its own must say so itself.
    if error.name != "tenyson_aws":
        raise
    raise MissingDependencyError("tenyson-aws", needed_for="AWSManager", install="tenyson-aws") from error

__all__ = ["AWSManager"]
