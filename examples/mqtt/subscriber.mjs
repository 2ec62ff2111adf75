// Read events with MQTT.js: npm install mqtt; node examples/mqtt/subscriber.mjs mqtt://reader@broker.local
// The password is taken from MQTT_PASSWORD.
import mqtt from "mqtt";

const MAX_AGE_MS = 60_000; // older events are not acted on: after an outage all that waited comes at once
const last = new Map(); // device -> seq; keep it on disk to be sure over restarts

const client = mqtt.connect(process.argv[2] ?? "mqtt://localhost", {
  password: process.env.MQTT_PASSWORD,
  clientId: "my-subscriber-js", // fixed, and the session is kept: the broker keeps events while this program is away
  clean: false,
});

client.on("connect", () => client.subscribe("emotion/1/+/event", { qos: 1 }));
client.on("error", (error) => console.error(error.message));
client.on("message", (_topic, payload) => {
  const event = JSON.parse(payload);
  const before = last.get(event.device);
  if (before !== undefined && event.seq <= before) return; // sent again because its acknowledgement got lost
  if (before !== undefined && event.seq > before + 1) {
    console.log(`${event.device}: ${event.seq - before - 1} events are missing`);
  }
  last.set(event.device, event.seq);
  if (event.time_synced && Date.now() - Date.parse(event.time) > MAX_AGE_MS) return;
  console.log(`${event.device}: ${event.event_type} ${event.emotion} ${Math.round(event.confidence * 100)}%`);
});
