"""Reinforcement learning on the training loop: PPO, GRPO and RLOO.

A *rollout* is a set of answers that the policy gave to prompts, with everything that the following optimizer steps
need: tokens, log-probabilities, advantages. Within it each step is a mini-batch like any other stage's.
"""
