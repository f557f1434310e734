// @platformatic/kafka, as the harness asks it. Its streams read as member of a group only; its
// consumer's `fetch` does not.
'use strict'

const { createRequire } = require('node:module')
const path = require('node:path')
const { pathToFileURL } = require('node:url')
const zlib = require('node:zlib')
const { Endurance, Log, Unoffered, pack, record, serve } = require('../harness/serve.js')

const load = createRequire(path.join(process.env.OTTLA_CACHE, 'platformatic', 'client.js'))
const ACKS = { 0: 0, 1: 1, all: -1 }
const TOPIC = 2
const SET = 0
const SECONDS = 15
const EARLIEST = -2n
const LATEST = -1n

const base = {
  clientId: 'compat',
  bootstrapBrokers: [process.argv[2]],
  retries: 3,
  retryDelay: 100,
  metadataMaxAge: 0,
}
let lib
let admin
const members = new Map()
let endurance

async function withClient(client, act) {
  try {
    return await act(client)
  } finally {
    await client.close(true)
  }
}

function message(topic, partition, made) {
  const { key, value, headers, timestamp } = record(made)
  // Keys of their own, so that a name may come twice.
  const pairs = headers.map(([name, bytes]) => [Buffer.from(name), bytes])
  return { topic, partition, key, value, headers: new Map(pairs), timestamp: BigInt(timestamp) }
}

const hasZstd = typeof zlib.zstdCompressSync === 'function'

async function produce(question) {
  const { topic, partition, codec, acks, records } = question
  const { idempotent = false, auto_create = false } = question
  if (codec === 'zstd' && !hasZstd) throw new Unoffered('client: no zstd with this Node.js')
  const options = { ...base, autocreateTopics: auto_create, idempotent }
  return withClient(new lib.Producer(options), async producer => {
    const messages = records.map(made => message(topic, partition, made))
    const told = await producer.send({
      messages,
      acks: ACKS[acks],
      compression: codec,
      autocreateTopics: auto_create,
    })
    if (acks === '0') return []
    return messages.map((_, at) => Number(told.offsets[0].offset) + at)
  })
}

async function listed(topic, partition, timestamp) {
  const [found] = await admin.listOffsets({
    topics: [{ name: topic, partitions: [{ partitionIndex: partition, timestamp }] }],
  })
  return found.partitions[0].offset
}

async function position(topic, partition, start, at) {
  if (start === 'offset') return BigInt(at)
  const times = { start: EARLIEST, end: LATEST }
  return listed(topic, partition, times[start] ?? BigInt(at))
}

function shown(batch, one) {
  return {
    offset: Number(batch.firstOffset) + one.offsetDelta,
    timestamp: Number(batch.firstTimestamp + one.timestampDelta),
    key: pack(one.key),
    value: pack(one.value),
    headers: one.headers.map(([name, value]) => [name.toString(), pack(value)]),
  }
}

// One batch: a limit of one byte for the partition still gives the first batch whole.
async function fetched(consumer, metadata, topic, partition, offset) {
  const { id, partitions } = metadata.topics.get(topic)
  const { responses } = await consumer.fetch({
    node: partitions[partition].leader,
    minBytes: 1,
    maxBytes: 10_000_000,
    maxWaitTime: 100,
    topics: [{
      topicId: id,
      partitions: [{
        partition,
        currentLeaderEpoch: -1,
        fetchOffset: offset,
        lastFetchedEpoch: -1,
        partitionMaxBytes: 1,
      }],
    }],
  })
  const batches = responses[0]?.partitions[0].records ?? []
  return batches.flatMap(batch => batch.records.map(one => shown(batch, one)))
    .filter(one => one.offset >= offset)
}

async function consume({ topic, partition, count, start, at, then }) {
  let offset = await position(topic, partition, start, at)
  if (then.length > 0) {
    await produce({ topic, partition, codec: 'none', acks: 'all', records: then })
  }
  return withClient(new lib.Consumer({ ...base, groupId: 'unused' }), async consumer => {
    const metadata = await consumer.metadata({ topics: [topic] })
    const found = []
    const deadline = Date.now() + SECONDS * 1000
    while (found.length < count) {
      if (Date.now() > deadline) throw new Error(`${found.length} records came, not ${count}`)
      found.push(...(await fetched(consumer, metadata, topic, partition, offset)))
      if (found.length > 0) offset = BigInt(found.at(-1).offset + 1)
    }
    return found
  })
}

async function join({ member, group, topics, pattern, instance, cooperative, session, heartbeat,
  log: path }) {
  if (pattern) throw new Unoffered('client: no patterns')
  if (cooperative) throw new Unoffered('client: its rebalances are eager')
  const log = new Log(path)
  const consumer = new lib.Consumer({
    ...base,
    retries: 50,
    groupId: group,
    sessionTimeout: session,
    rebalanceTimeout: session,
    heartbeatInterval: heartbeat,
    ...(instance ? { groupInstanceId: instance } : {}),
  })
  members.set(member, { consumer, log })
  consumer.on('consumer:group:join', ({ assignments }) => {
    log.given((assignments ?? [])
      .flatMap(({ topic, partitions }) => partitions.map(one => `${topic}:${one}`)))
  })
  consumer.on('consumer:group:rebalance', () => log.taken())
  consumer.on('error', error => log.error(error))
  const run = async () => {
    const stream = await consumer.consume({
      topics,
      mode: 'committed',
      fallbackMode: 'earliest',
      autocommit: false,
      maxWaitTime: 100,
    })
    stream.on('error', error => log.error(error))
    for await (const { topic, partition, offset, commit } of stream) {
      log.record(topic, partition, offset)
      // Refused where the group has gone on without it: what follows is read all the same.
      await Promise.resolve(commit()).catch(error => log.error(error))
    }
  }
  run().catch(error => log.error(error))
}

async function leave({ member }) {
  const { consumer, log } = members.get(member)
  members.delete(member)
  await consumer.close(true)
  log.taken()
}

const ops = {
  hello: () => ({
    version: load('./node_modules/@platformatic/kafka/package.json').version,
    // Its snappy knows bare blocks, not the framing of Java's and most other clients.
    codecs: ['none', 'gzip', 'lz4'],
    own: {
      'group-rolling-once': 'what it has read before a rebalance it gives again after it',
      'group-static': 'it leaves the group when it is closed, static or not',
      'group-fencing': 'it leaves the group when it is closed, static or not',
      'group-paused': 'a commit of a member that was paused may be lost for good',
      'group-killed': 'a commit of a member that was paused may be lost for good',
      'group-restart': 'an answer with tagged fields, as Fetch has then, cannot be read by it',
      'group-kill-9': 'an answer with tagged fields, as Fetch has then, cannot be read by it',
    },
    assignor: 'it has no assignor "range"',
    reads_again: 'what it has read before a rebalance it gives again after it',
  }),

  produce,
  consume,
  join,
  leave,

  unknown_topic: ({ topic }) =>
    withClient(new lib.Producer({ ...base, retries: 1, autocreateTopics: false }), producer =>
      producer.send({ messages: [{ topic, value: Buffer.from('x') }] })),

  list_topics: () => admin.listTopics(),

  async describe_topic({ topic }) {
    const { topics } = await admin.metadata({ topics: [topic], forceUpdate: true })
    return topics.get(topic).partitionsCount
  },

  create_topic: ({ topic, partitions, configs }) =>
    admin.createTopics({
      topics: [topic],
      partitions,
      replicas: 1,
      configs: Object.entries(configs).map(([name, value]) => ({ name, value })),
    }).then(() => null),

  delete_topic: ({ topic }) => admin.deleteTopics({ topics: [topic] }),

  async describe_cluster() {
    const { id, brokers, controllerId } = await admin.metadata({ topics: [], forceUpdate: true })
    return {
      brokers: [...brokers].map(([node, { host, port }]) => ({ id: node, host, port })),
      controller: controllerId,
      cluster_id: id,
    }
  },

  async list_offsets({ topic, partition, at }) {
    const times = { earliest: EARLIEST, latest: LATEST }
    return Number(await listed(topic, partition, times[at] ?? BigInt(at)))
  },

  async delete_records({ topic, partition, offset }) {
    const [done] = await admin.deleteRecords({
      topics: [{ name: topic, partitions: [{ partition, offset: BigInt(offset) }] }],
    })
    return Number(done.partitions[0].lowWatermark)
  },

  create_partitions: ({ topic, count }) =>
    admin.createPartitions({ topics: [{ name: topic, count, assignments: null }] }),

  async describe_configs({ topic }) {
    const [found] = await admin.describeConfigs({
      resources: [{ resourceType: TOPIC, resourceName: topic }],
    })
    return Object.fromEntries(found.configs.map(({ name, value }) => [name, value]))
  },

  alter_configs: ({ topic, configs }) =>
    admin.incrementalAlterConfigs({
      resources: [{
        resourceType: TOPIC,
        resourceName: topic,
        configs: Object.entries(configs)
          .map(([name, value]) => ({ name, configOperation: SET, value })),
      }],
    }),

  endure({ topic }) {
    const producer = new lib.Producer({ ...base, idempotent: true, retries: 200, retryDelay: 100 })
    endurance = new Endurance(async numbers => {
      const messages = numbers
        .map(number => ({ topic, partition: 0, value: Buffer.from(String(number)) }))
      await producer.send({ messages, acks: -1 })
      return numbers
    })
  },

  endured: () => endurance.acked.length,
  calm: () => endurance.calm(),
}

async function main() {
  lib = await import(pathToFileURL(load.resolve('@platformatic/kafka')))
  admin = new lib.Admin(base)
  await serve(ops)
}

main()
