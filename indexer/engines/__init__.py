"""Engines that embed on other machines than the one that builds; optional, imported when asked for."""
