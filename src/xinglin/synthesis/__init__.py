"""Synthesis: records that a model behind an endpoint writes, made from records that there are.

    source records -> gate (personal data) -> items -> a task asks and checks -> records, or why there are none

Every item is made, rejected (what came back is not good enough), failed (nothing came back) or not reached (a cap). A
task in ``tasks/`` knows what to ask and what is good enough; it knows nothing of HTTP, money or files.
"""
