"""Record and report: collect the messages of many devices into a database, find gaps, draw a day.

Needs the extra `collect` for databases, `report` for pictures; importing this package loads neither.
"""
