"""The mathematics that samplers and trainers share."""
