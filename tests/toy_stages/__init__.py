"""Stages that do nothing costly, to test the recipe and the pipeline with."""

PRELOAD = ()
