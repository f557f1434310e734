// kafkajs, as the harness asks it. Its consumer reads as member of a group only, so each question to
// consume is a group of its own. Codecs other than gzip are plugged in, as its documentation says.
'use strict'

const { createRequire } = require('node:module')
const path = require('node:path')
const { Endurance, Log, Unoffered, pack, record, serve } = require('../harness/serve.js')

const load = createRequire(path.join(process.env.OTTLA_CACHE, 'kafkajs', 'client.js'))
const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, Partitioners, logLevel } =
  load('kafkajs')
const lz4 = load('lz4-napi')
const zstd = load('@bokuweb/zstd-wasm')

CompressionCodecs[CompressionTypes.Snappy] = load('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: bytes => lz4.decompressFrame(bytes),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer)),
  decompress: async bytes => Buffer.from(zstd.decompress(bytes)),
})
const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}
const SECONDS = 15
const ACKS = { 0: 0, 1: 1, all: -1 }

const client = new Kafka({
  brokers: [process.argv[2]],
  clientId: 'compat',
  logLevel: logLevel.NOTHING,
  retry: { retries: 3, initialRetryTime: 100 },
})
const admin = client.admin()
const members = new Map()
const transactional = new Map()
let endurance
let groups = 0

async function withProducer(options, act) {
  const createPartitioner = Partitioners.DefaultPartitioner
  const producer = client.producer({ createPartitioner, ...options })
  await producer.connect()
  try {
    return await act(producer)
  } finally {
    await producer.disconnect()
  }
}

function message(made, partition) {
  const { key, value, headers, timestamp } = record(made)
  const named = Object.fromEntries(headers)
  return { key, value, headers: named, timestamp: String(timestamp), partition }
}

// Headers are an object: the order of different names is lost, and a name that comes twice is a list.
function shown({ offset, timestamp, key, value, headers }) {
  const pairs = Object.entries(headers ?? {})
    .flatMap(([name, values]) => [values].flat().map(one => [name, pack(one)]))
  const packed = { key: pack(key), value: pack(value), headers: pairs }
  return { offset: Number(offset), timestamp: Number(timestamp), ...packed }
}

async function produce({ topic, partition, codec, acks, idempotent, auto_create, records }) {
  const options = { idempotent, allowAutoTopicCreation: auto_create }
  return withProducer(options, async producer => {
    const messages = records.map(made => message(made, partition))
    const compression = CODECS[codec]
    const told = await producer.send({ topic, messages, acks: ACKS[acks], compression })
    if (acks === '0') return []
    const base = Number(told[0].baseOffset)
    return messages.map((_, at) => base + at)
  })
}

async function listed(topic, partition, at) {
  const listed = typeof at === 'string'
    ? await admin.fetchTopicOffsets(topic)
    : await admin.fetchTopicOffsetsByTimestamp(topic, at)
  const found = listed.find(one => one.partition === partition)
  return Number(at === 'earliest' ? found.low : found.offset)
}

async function consume({ topic, partition, count, start, at, then, committed = false }) {
  const ends = { start: 'earliest', end: 'latest' }
  const offset = start === 'offset' ? at : await listed(topic, partition, ends[start] ?? at)
  if (then.length > 0) await produce({ topic, partition, codec: 'none', acks: 'all', records: then })
  const groupId = `read-${topic}-${process.pid}-${groups++}`
  const consumer = client.consumer({ groupId, maxWaitTimeInMs: 100, readUncommitted: !committed })
  const found = []
  try {
    await consumer.connect()
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    await new Promise((done, failed) => {
      const late = () => failed(new Error(`${found.length} records came, not ${count}`))
      setTimeout(late, SECONDS * 1000).unref()
      const eachMessage = async one => {
        if (one.partition !== partition || Number(one.message.offset) < offset) return
        found.push(shown(one.message))
        if (found.length >= count) done()
      }
      consumer.run({ autoCommit: false, eachMessage }).catch(failed)
      consumer.seek({ topic, partition, offset: String(offset) })
    })
  } finally {
    await consumer.disconnect()
  }
  return found.slice(0, count)
}

async function join({ member, group, topics, pattern, instance, cooperative, session, heartbeat,
  log: path }) {
  if (instance) throw new Unoffered('client: no static members')
  if (cooperative) throw new Unoffered('client: its rebalances are eager')
  const log = new Log(path)
  const consumer = client.consumer({
    groupId: group,
    sessionTimeout: session,
    heartbeatInterval: heartbeat,
    maxWaitTimeInMs: 100,
    retry: { retries: 50, initialRetryTime: 100, maxRetryTime: 500 },
  })
  members.set(member, { consumer, log })
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    log.given(Object.entries(payload.memberAssignment)
      .flatMap(([topic, partitions]) => partitions.map(one => `${topic}:${one}`)))
  })
  consumer.on(consumer.events.REBALANCING, () => log.taken())
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    log.error(payload.error)
    // It gives up when it looks for its coordinator while the broker is away (README.md).
    if (!payload.restart) setTimeout(start, 500)
  })
  const start = () => {
    if (members.get(member)?.consumer === consumer) run().catch(error => log.error(error))
  }
  const run = async () => {
    await consumer.connect()
    await consumer.subscribe({ topics: pattern ? [new RegExp(pattern)] : topics, fromBeginning: true })
    await consumer.run({
      autoCommitThreshold: 1,
      eachMessage: async ({ topic, partition, message }) => {
        log.record(topic, partition, message.offset)
      },
    })
  }
  start()
}

async function leave({ member }) {
  const { consumer, log } = members.get(member)
  members.delete(member)
  await consumer.disconnect()
  log.taken()
}

async function withTransactions(transactionalId) {
  const createPartitioner = Partitioners.DefaultPartitioner
  const options = { createPartitioner, transactionalId, idempotent: true, maxInFlightRequests: 1 }
  const producer = client.producer(options)
  await producer.connect()
  return producer
}

async function transact({ handle, topic, values, end }) {
  const one = transactional.get(handle)
  const transaction = one.open ?? (await one.producer.transaction())
  one.open = end === 'none' ? transaction : undefined
  const messages = values.map(([partition, value]) => ({ partition, value }))
  if (messages.length > 0) await transaction.send({ topic, messages })
  if (end === 'commit') await transaction.commit()
  if (end === 'abort') await transaction.abort()
}

async function copy({ member, log: path, abort, ...options }) {
  const log = new Log(path)
  const over = new Promise(done => {
    const job = { over: false, abort, ...options }
    const leave = () => {
      job.over = true
      job.wake?.()
      return ended
    }
    members.set(member, { consumer: { disconnect: leave }, log })
    const ended = (async () => {
      while (!job.over) await copyJob(job).catch(error => log.error(error))
      done()
    })()
  })
  over.catch(error => log.error(error))
}

// Copies until it is over, or until something goes wrong.
async function copyJob(job) {
  const producer = await withTransactions(job.id)
  const consumer = client.consumer({
    groupId: job.group,
    sessionTimeout: job.session,
    heartbeatInterval: job.heartbeat,
    maxWaitTimeInMs: 100,
  })
  try {
    await consumer.connect()
    await consumer.subscribe({ topics: [job.source], fromBeginning: true })
    await new Promise((done, failed) => {
      job.wake = done
      consumer.on(consumer.events.CRASH, ({ payload }) => failed(payload.error))
      const eachBatch = async ({ batch, heartbeat, isRunning, isStale, resolveOffset }) => {
        for (let at = 0; at < batch.messages.length; at += 5) {
          if (!isRunning() || isStale() || job.over) return
          const some = batch.messages.slice(at, at + 5)
          await transaction(producer, job, some).catch(error => {
            failed(error)
            throw error
          })
          resolveOffset(some.at(-1).offset)
          await heartbeat()
        }
      }
      consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch }).catch(failed)
    })
  } finally {
    await consumer.disconnect()
    await producer.disconnect()
  }
}

async function transaction(producer, job, messages) {
  const transaction = await producer.transaction()
  await transaction.send({
    topic: job.target,
    messages: messages.map(({ offset }) => ({ partition: 0, value: offset })),
  })
  const offset = String(Number(messages.at(-1).offset) + 1)
  const topics = [{ topic: job.source, partitions: [{ partition: 0, offset }] }]
  await transaction.sendOffsets({ consumerGroupId: job.group, topics })
  if (!job.abort) return transaction.commit()
  job.abort = false
  await transaction.abort()
  throw new Error('aborted as it was asked to')
}

const ops = {
  hello: () => ({
    version: load('kafkajs/package.json').version,
    headers_unordered: true,
    assignor: "its assignor's name is its own",
    pattern_once: 'a pattern is looked up when it subscribes',
    cannot: ['repeated-headers', 'null-headers'],
    idempotent: false,
    no_offset_is_end: true,
  }),

  produce,
  consume,
  join,
  leave,
  transact,
  copy,

  async txn_open({ handle, id }) {
    transactional.set(handle, { producer: await withTransactions(id) })
  },

  async txn_close({ handle }) {
    const { producer } = transactional.get(handle)
    transactional.delete(handle)
    await producer.disconnect()
  },

  unknown_topic: ({ topic }) =>
    withProducer({ allowAutoTopicCreation: false, retry: { retries: 1 } }, producer =>
      producer.send({ topic, messages: [{ value: 'x' }] })),

  list_topics: () => admin.listTopics(),

  async describe_topic({ topic }) {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    return topics[0].partitions.length
  },

  async create_topic({ topic, partitions, configs }) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    const created = await admin.createTopics({
      topics: [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }],
    })
    // It says false, and no error, for a topic that exists.
    if (!created) throw new Error('not created: the topic exists')
  },

  delete_topic: ({ topic }) => admin.deleteTopics({ topics: [topic] }),

  async describe_cluster() {
    const { brokers, controller, clusterId } = await admin.describeCluster()
    return {
      brokers: brokers.map(({ nodeId, host, port }) => ({ id: nodeId, host, port })),
      controller,
      cluster_id: clusterId,
    }
  },

  list_offsets: ({ topic, partition, at }) => listed(topic, partition, at),

  async delete_records({ topic, partition, offset }) {
    // It looks for the leader before it asks for metadata: without this call it finds none.
    await admin.fetchTopicOffsets(topic)
    await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(offset) }] })
  },

  create_partitions: ({ topic, count }) =>
    admin.createPartitions({ topicPartitions: [{ topic, count }] }),

  async describe_configs({ topic }) {
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }],
    })
    const entries = resources[0].configEntries
    return Object.fromEntries(entries.map(one => [one.configName, one.configValue]))
  },

  async alter_configs({ topic, configs }) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    await admin.alterConfigs({
      validateOnly: false,
      resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }],
    })
  },

  async endure({ topic }) {
    const producer = client.producer({
      createPartitioner: Partitioners.DefaultPartitioner,
      retry: { retries: 50, initialRetryTime: 100, maxRetryTime: 500 },
    })
    await producer.connect()
    endurance = new Endurance(async numbers => {
      const messages = numbers.map(number => ({ value: String(number), partition: 0 }))
      await producer.send({ topic, messages, acks: -1 })
      return numbers
    })
  },

  endured: () => endurance.acked.length,
  calm: () => endurance.calm(),
}

async function main() {
  await zstd.init()
  await admin.connect()
  await serve(ops)
}

main()
