"""hrpro finds what happens when in untrimmed video and learns new actions from one click each.

Data flows one way: ``cli`` -> ``pipeline`` -> {``extract``, ``localize``}.
"""

__version__ = "0.1.0"
