// What the adapters in JavaScript share: the loop over questions, one line of JSON each, and a
// producer that endures restarts of the broker. Bytes travel as base64.
'use strict'

const fs = require('node:fs')
const readline = require('node:readline')

const BURST = 20
const sleep = millis => new Promise(done => setTimeout(done, millis))
const isNone = value => value === null || value === undefined
const pack = bytes => (isNone(bytes) ? null : Buffer.from(bytes).toString('base64'))
const unpack = text => (text === null ? null : Buffer.from(text, 'base64'))

// The client has no call for it; the text says what is missing.
class Unoffered extends Error {}

// A record of a question: bytes instead of base64.
const record = made => ({
  key: unpack(made.key),
  value: unpack(made.value),
  headers: made.headers.map(([name, value]) => [name, unpack(value)]),
  timestamp: made.timestamp,
})

// Sends bursts of numbered records; `send(numbers)` resolves with those that were acknowledged.
class Endurance {
  constructor(send) {
    this.acked = []
    this.errors = []
    this.over = false
    this.ended = this.run(send)
  }

  async run(send) {
    for (let first = 0; !this.over; first += BURST) {
      try {
        this.acked.push(...(await send(Array.from({ length: BURST }, (_, at) => first + at))))
      } catch (error) {
        this.errors.push(String(error))
      }
      await sleep(20)
    }
  }

  async calm() {
    this.over = true
    await this.ended
    return { acked: this.acked, errors: this.errors }
  }
}

// What happens to a member of a group, in a file that a kill does not take (groups.py). Assignments
// come whole: these clients know no others.
class Log {
  constructor(path) {
    this.file = fs.openSync(path, 'a')
    this.owned = []
  }

  line(mark, text) {
    fs.writeSync(this.file, `${mark} ${text}\n`)
  }

  given(partitions) {
    this.taken()
    this.owned = partitions
    this.line('+', partitions.join(' '))
  }

  taken() {
    if (this.owned.length > 0) this.line('-', this.owned.join(' '))
    this.owned = []
  }

  record(topic, partition, offset) {
    this.line('.', `${topic}:${partition} ${offset}`)
  }

  error(error) {
    this.line('!', causes(error).map(one => one.message).join('; ').replace(/\s+/g, ' '))
  }
}

// An error with all that stand behind it.
const causes = error => [error, error.cause, ...(error.errors ?? [])].filter(Boolean)
  .flatMap(one => (one === error ? [one] : causes(one)))

async function answer(ops, line) {
  const { op, ...question } = JSON.parse(line)
  try {
    if (!ops[op]) throw new Unoffered('client: no such call')
    const told = (await ops[op](question)) ?? null
    if (op === 'hello') told.calls = Object.keys(ops)
    return { ok: told }
  } catch (error) {
    if (error instanceof Unoffered) return { unoffered: error.message }
    const texts = causes(error).map(one => `${one.apiId ?? one.type ?? one.name}: ${one.message}`)
    return { error: texts.join('; ') }
  }
}

async function serve(ops) {
  const lines = readline.createInterface({ input: process.stdin, crlfDelay: Infinity })
  for await (const line of lines) {
    process.stdout.write(JSON.stringify(await answer(ops, line)) + '\n')
  }
  process.exit(0)
}

module.exports = { Endurance, Log, Unoffered, pack, record, serve, sleep }
