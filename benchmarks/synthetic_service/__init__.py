"""A synthetic service: exports of five invented vendors, and the truth they were made from, written beside them.

Nothing here is a person. The exports go through the same door as everyone's; ``truth/`` is for tests only.
"""

from benchmarks.synthetic_service.generator import GenerationReport, generate

__all__ = ["GenerationReport", "generate"]
