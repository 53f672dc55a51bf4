"""HematoVision: recognises blood cells in microscope images.

>>> from hematovision import Classifier
>>> predictions = Classifier.load("rbc-wbc-platelets").predict(["cell.jpg"])  # doctest: +SKIP
"""

__version__ = "0.1.0"
