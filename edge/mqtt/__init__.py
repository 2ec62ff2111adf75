"""MQTT: the durable outbox, three clients of a broker, and the topics.

`connection` is one connection to the broker, from the attempt to its end. `client` opens one after another, and three
clients build on it. The daemon talks through `publisher`, whose `interface` the loop knows: it stores events in
`outbox` and wakes the thread of `sender`, which sends what `send_queue` puts in order, hands what arrives to
`commands`, and gives way to a device of the same name (`name_guard`). `collect`, `watch` and `demo` read what devices
publish through `subscriber`. `doctor` and `homeassistant` ask a broker a short question through `exchange`. `address`
is the broker in the settings, `reasons` why a connection ended, `topics` where everything is published.

Importing this package loads nothing; the connection loads paho-mqtt.
"""
