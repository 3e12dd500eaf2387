"""Planted bugs: each a patch on a copy of the tree, and the laws that must catch it. ``python -m tests.mutants`` plants them all."""
