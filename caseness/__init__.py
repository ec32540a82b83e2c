"""caseness: clinical outcomes analytics and screening data warehouse for digital mental health.

This package is the front door: settings, connections, the journal, and one module per command.
"""

__version__ = "0.1.0"
