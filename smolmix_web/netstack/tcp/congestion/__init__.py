"""Congestion control behind one interface (base.py): NewReno, CUBIC, and a model of the path."""

from .base import CongestionControl, CongestionFactory, SharedPath, initial_window
from .cubic import Cubic
from .model import PathModel
from .newreno import NewReno

__all__ = ["CongestionControl", "CongestionFactory", "Cubic", "NewReno", "PathModel", "SharedPath", "initial_window"]
