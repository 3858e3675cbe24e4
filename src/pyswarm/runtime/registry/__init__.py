"""A client of image registries (extra ``registry``): ``http``, then ``client``."""

from .client import Credentials as Credentials
from .client import RegistryClient as RegistryClient

__all__ = ["Credentials", "RegistryClient"]
