"""MQTT: the durable outbox, the connection to the broker, the topics.

Importing this package loads nothing; ``edge.mqtt.publisher`` loads paho-mqtt.
"""
