"""The tax rates, from a file of the package."""

import csv
from decimal import Decimal
from importlib.resources import files

with files("billing").joinpath("rates.csv").open() as file:
    RATES = {country: Decimal(rate) for country, rate in csv.reader(file)}
