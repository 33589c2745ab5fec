"""The flow of the nights, from a deployment: it notes each batch that it generates in a file."""

import logging
import os

from coupled_core.runs import stages
from flows.build_dataset import build_dataset as build_dataset
from tests.faults.night import LOG

# A worker that is killed takes with it what its runs print.
_made = logging.FileHandler(os.environ[LOG])
_made.addFilter(lambda record: "generated batch" in record.getMessage())
stages._logger.addHandler(_made)
stages._logger.setLevel(logging.INFO)
