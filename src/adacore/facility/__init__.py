"""The selection engine: facility location on plain arrays, exact, without an n x n matrix."""

from adacore.facility.objective import facility_objective
from adacore.facility.planning import Plan, plan
from adacore.facility.preparation import prepare_kernels
from adacore.facility.selection import facility_location

__all__ = ["Plan", "facility_location", "facility_objective", "plan", "prepare_kernels"]
