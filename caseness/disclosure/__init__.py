"""Disclosure control of what is published: checks, the attacker, and what goes where it finds something."""
