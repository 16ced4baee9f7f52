"""Gradient rules, by kind of operator; importing a module registers its rules."""
