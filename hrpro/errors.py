"""Errors that a person can act on. The command line prints them as one line, without a trace."""

from __future__ import annotations


class HrproError(Exception):
    """Something the user can put right; the message names the file and the remedy."""


class UsageError(HrproError):
    """A wrong option, config key or combination; the command line exits with 2."""


class VideoError(HrproError):
    """One video cannot be used; a batch reports it and goes on with the others."""


class WeightsError(HrproError):
    """Network weights are missing, damaged or of an unknown layout."""


class DataError(HrproError):
    """A dataset, feature, annotation or result file is missing, damaged or inconsistent."""
