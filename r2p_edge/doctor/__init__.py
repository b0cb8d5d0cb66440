"""`r2p-edge doctor`: a report of this machine, made by trying each runtime on each device."""

from r2p_edge.doctor.diagnosis import diagnose
from r2p_edge.doctor.tables import print_diagnosis

__all__ = ["diagnose", "print_diagnosis"]
