// @confluentinc/kafka-javascript, librdkafka for Node.js, as the harness asks it: for its members of
// consumer groups only. What is below it is asked for everything as confluent-kafka.
'use strict'

const { createRequire } = require('node:module')
const path = require('node:path')
const { Log, serve } = require('../harness/serve.js')

const load = createRequire(path.join(
  process.env.OTTLA_CACHE, 'confluent-kafka-javascript', 'client.js'))
const { Kafka, ErrorCodes } = load('@confluentinc/kafka-javascript').KafkaJS

// What a commit is told while its member is on its way to another epoch: it follows later.
const LATER = [ErrorCodes.ERR_STALE_MEMBER_EPOCH, ErrorCodes.ERR_REBALANCE_IN_PROGRESS]
const members = new Map()

function config({ group, instance, session, heartbeat, cooperative, protocol }) {
  // Times and assignors of the consumer protocol are the broker's.
  const ways = protocol === 'consumer'
    ? { 'group.protocol': 'consumer' }
    : {
        'session.timeout.ms': session,
        'heartbeat.interval.ms': heartbeat,
        'partition.assignment.strategy': cooperative ? 'cooperative-sticky' : 'range',
      }
  return {
    'bootstrap.servers': process.argv[2],
    'group.id': group,
    'auto.offset.reset': 'earliest',
    'enable.auto.commit': false,
    'fetch.wait.max.ms': 100,
    'topic.metadata.refresh.interval.ms': 1000,
    ...(instance ? { 'group.instance.id': instance } : {}),
    ...ways,
  }
}

// Whoever is out for good is told so by the logger alone.
function loggerTo(log) {
  const silent = () => {}
  const logger = {
    setLogLevel: silent, info: silent, warn: silent, debug: silent,
    namespace: () => logger,
    error: text => (/fatal/i.test(text) ? log.line('!', text.replace(/\s+/g, ' ')) : undefined),
  }
  return logger
}

async function join(ask) {
  const log = new Log(ask.log)
  const words = partitions => partitions.map(one => `${one.topic}:${one.partition}`).join(' ')
  const done = new Map()
  let consumer
  const commit = async () => {
    const offsets = [...done.values()]
    if (offsets.length === 0) return
    try {
      await consumer.commitOffsets(offsets)
      for (const one of offsets) {
        const key = `${one.topic}:${one.partition}`
        if (done.get(key) === one) done.delete(key)
      }
    } catch (error) {
      if (!LATER.includes(error.code)) log.error(error)
    }
  }
  const rebalanced = async (told, partitions, { assignmentLost }) => {
    if (told.code === ErrorCodes.ERR__ASSIGN_PARTITIONS) return log.line('+', words(partitions))
    if (!assignmentLost()) await commit()
    partitions.forEach(one => done.delete(`${one.topic}:${one.partition}`))
    log.line('-', words(partitions))
  }
  consumer = new Kafka({ kafkaJS: { logger: loggerTo(log) } }).consumer({
    ...config(ask),
    rebalance_cb: rebalanced,
  })
  members.set(ask.member, consumer)
  await consumer.connect()
  await consumer.subscribe({ topics: ask.pattern ? [new RegExp(ask.pattern)] : ask.topics })
  await consumer.run({
    eachMessage: async ({ topic, partition, message }) => {
      log.record(topic, partition, message.offset)
      const offset = String(Number(message.offset) + 1)
      done.set(`${topic}:${partition}`, { topic, partition, offset })
      await commit()
    },
  })
}

async function leave({ member }) {
  const consumer = members.get(member)
  members.delete(member)
  await consumer.disconnect()
}

serve({
  hello: () => ({
    version: load('@confluentinc/kafka-javascript/package.json').version,
    consumer_protocol: true,
  }),
  join,
  leave,
})
