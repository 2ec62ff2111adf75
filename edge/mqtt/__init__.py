"""Events to a broker: durable outbox, connection, topics, Home Assistant discovery.

Importing this package loads nothing; ``edge.mqtt.publisher`` loads paho-mqtt.
"""
