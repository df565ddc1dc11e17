"""How the cosines and their derivatives are computed; :mod:`cosnorm.functional` says what and why."""
