"""Building a snapshot from a source: row order, files, calibration and the publish gate."""
