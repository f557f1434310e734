//! Limits on what connections may take, each under the key that sets it. Where Kafka has the key,
//! its 4.3.1 was seen to do the same.

use std::net::SocketAddr;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use kafka_protocol::messages::{
    ApiVersionsRequest, FetchRequest, ListOffsetsRequest, ProduceRequest,
};
use ottla_types::ErrorCode;

use crate::client::Client;
use crate::node::{Node, Setup, free_port, fresh, wait_until};
use crate::requests::{
    CREATE_TOPICS, FETCH, LIST_OFFSETS, PRODUCE, Topic, batch, creatable, create, create_request,
    error, fetch_request, list_offset, list_offsets_request, metadata_of, produce, produce_request,
};

/// A time in which a broker that serves a connection has answered it.
const SOON: Duration = Duration::from_millis(700);

fn is_served(client: &mut Client) -> bool {
    client.read_timeout(SOON);
    client.try_call(0, &ApiVersionsRequest::default()).is_ok()
}

/// Connections that are served, of as many as `count` that are opened. Those that looked whether
/// the node had started may count for a moment.
fn served(address: SocketAddr, count: usize, expected: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    wait_until("as many are served as may be", || {
        clients.clear();
        clients.extend((0..count).map(|_| Client::connect(address)));
        clients.retain_mut(is_served);
        clients.len() == expected
    });
    clients
}

/// A node with a listener more, and its address.
fn with_two_listeners(setup: Setup) -> (Node, SocketAddr) {
    let ([broker, controller], other) = (setup.ports, free_port());
    let listeners = format!(
        "PLAINTEXT://127.0.0.1:{broker},EXT://127.0.0.1:{other},CONTROLLER://127.0.0.1:{controller}"
    );
    let map = "PLAINTEXT:PLAINTEXT,EXT:PLAINTEXT,CONTROLLER:PLAINTEXT";
    let setup = setup.with("listeners", listeners).with("listener.security.protocol.map", map);
    (setup.start(), SocketAddr::from(([127, 0, 0, 1], other)))
}

#[test]
fn connections_are_limited_and_the_quorum_is_not_kept_out() {
    let node = Setup::new().with("max.connections", 6).start();
    let mut clients = served(node.address(), 6, 6);
    let mut waits = node.connect();
    assert!(!is_served(&mut waits));
    assert!(is_served(&mut Client::connect(node.controller_address())));
    drop(clients.pop());
    waits.read_timeout(Duration::from_secs(30));
    // The answer to the request that it has sent.
    waits.receive::<ApiVersionsRequest>(0);
}

#[test]
fn connections_of_all_listeners_are_limited_together() {
    let (node, other) = with_two_listeners(Setup::new().with("max.connections", 6));
    let _clients = served(other, 4, 4);
    let mut brokers = served(node.address(), 2, 2);
    let mut waits = Client::connect(other);
    assert!(!is_served(&mut waits));
    drop(brokers.pop());
    waits.read_timeout(Duration::from_secs(30));
    waits.receive::<ApiVersionsRequest>(0);
}

#[test]
fn brokers_displace_clients() {
    let (node, other) = with_two_listeners(Setup::new().with("max.connections", 6));
    let mut clients = served(other, 6, 6);
    clients[0].call(0, &ApiVersionsRequest::default());
    let brokers: Vec<bool> = (0..2).map(|_| is_served(&mut node.connect())).collect();
    assert_eq!(brokers, [true; 2]);
    let mut kept: Vec<Client> = (0..2).map(|_| node.connect()).collect();
    assert!(kept.iter_mut().all(is_served));
    let alive: Vec<bool> = clients.iter_mut().map(is_served).collect();
    assert!(alive[0], "it was not the one that was quiet for longest: {alive:?}");
    assert!(alive.iter().filter(|alive| !**alive).count() >= 2, "{alive:?}");
}

#[test]
fn listeners_have_limits_of_their_own() {
    let setup = Setup::new().with("listener.name.ext.max.connections", 3);
    let (node, other) = with_two_listeners(setup);
    let _full = served(other, 3, 3);
    assert!(!is_served(&mut Client::connect(other)));
    assert!(is_served(&mut node.connect()));
}

#[test]
fn addresses_have_limits_of_their_own() {
    let overrides = "localhost:4,127.0.0.77:1";
    let node = Setup::new()
        .with("max.connections.per.ip", 1)
        .with("max.connections.per.ip.overrides", overrides)
        .start();
    let _full = served(node.address(), 4, 4);
    assert!(node.connect().is_closed(), "it is not served, and is told at once");
}

#[test]
fn a_host_without_an_address_stops_the_start() {
    let setup = Setup::new().with("max.connections.per.ip.overrides", "nobody.invalid:4");
    let said = setup.fails_with(1, crate::node::binary().args(setup.arguments()));
    assert!(said.contains("max.connections.per.ip.overrides: nobody.invalid"), "{said}");
}

#[test]
fn connections_come_at_their_rate() {
    let node = Setup::new().with("max.connection.creation.rate", 5).start();
    let began = Instant::now();
    for _ in 0..58 {
        node.connect().call(0, &ApiVersionsRequest::default());
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1400), "{took:?} for eight beyond the burst");
}

#[test]
fn requests_that_come_too_slowly_end_their_connection() {
    let node = Setup::new().with("ottla.connection.receive.max.ms", 300).start();
    let mut client = node.connect();
    let began = Instant::now();
    client.send_raw(&[0, 0, 0, 20, 0, 18]).unwrap();
    assert!(client.is_closed());
    assert!(began.elapsed() >= Duration::from_millis(280), "{:?}", began.elapsed());
}

/// Who sends the beginning of a request of so many bytes is closed at once.
fn is_refused(node: &Node, api: i16, version: i16, len: i32) -> bool {
    let mut client = node.connect();
    client.read_timeout(SOON);
    let begun = [&len.to_be_bytes()[..], &api.to_be_bytes(), &version.to_be_bytes(), &[0; 4]];
    client.send_raw(&begun.concat()).unwrap();
    client.is_closed()
}

#[test]
fn frames_are_limited_in_all_and_for_each_api() {
    const WRITE: i16 = 0;
    const METADATA: i16 = 3;
    let node = Node::start();
    assert!(is_refused(&node, WRITE, 9, (100 << 20) + 1));
    assert!(!is_refused(&node, WRITE, 9, 100 << 20));
    assert!(is_refused(&node, METADATA, 12, (1 << 20) + 1), "docs/apis.md");
    assert!(!is_refused(&node, METADATA, 12, 1 << 20));
    let node = Setup::new().with("socket.request.max.bytes", 5_000).start();
    assert!(is_refused(&node, METADATA, 12, 5_001), "shorter than what the API may have");
    assert!(!is_refused(&node, METADATA, 12, 5_000));
}

/// A topic of some megabytes.
fn long_topic(client: &mut Client) -> Topic {
    let topic = create(client, &fresh("long"), 1, &[]);
    let value = "x".repeat(900_000);
    for _ in 0..8 {
        assert_eq!(error(produce(client, &topic, batch(&[&value])).error_code), ErrorCode::None);
    }
    topic
}

/// Asks for more than the sockets take, as often as the broker reads it.
fn ask_and_read_nothing(client: &mut Client, topic: &Topic) {
    client.write_timeout(Duration::from_millis(50));
    let mut request = fetch_request(FETCH, topic, &[(0, 0)]);
    request.topics[0].partitions[0].partition_max_bytes = 50 << 20;
    let mut sent = 0;
    while sent < 200 && client.try_send(FETCH, &request).is_ok() {
        sent += 1;
    }
}

#[test]
fn who_reads_nothing_is_cut_off_after_a_time() {
    let node = Setup::new().with("ottla.connection.unread.max.ms", 600).start();
    let topic = long_topic(&mut node.connect());
    let mut deaf = node.connect();
    ask_and_read_nothing(&mut deaf, &topic);
    let mut slow = node.connect();
    slow.send(FETCH, &fetch_request(FETCH, &topic, &[(0, 0)]));
    // Who takes little but steadily stays.
    sleep(Duration::from_millis(400));
    slow.receive::<FetchRequest>(FETCH);
    sleep(Duration::from_millis(400));
    wait_until("the connection is closed", || deaf.send_raw(&[0]).is_err());
    slow.call(0, &ApiVersionsRequest::default());
}

#[test]
fn answers_that_wait_are_bounded_in_memory() {
    const UNSENT_MAX: u64 = 16 << 20;
    let mut node = Setup::new().with("ottla.unsent.max.bytes", UNSENT_MAX).start();
    let mut client = node.connect();
    let topic = create(&mut client, &fresh("wide"), 2_000, &[]);
    let before = super::hostile::peak_memory(&mut node);
    let mut deaf: Vec<Client> = (0..40).map(|_| node.connect()).collect();
    for client in &mut deaf {
        client.write_timeout(Duration::from_millis(20));
        client.read_timeout(SOON);
        // Answers of some 100 KiB to short requests.
        let asked = || metadata_request(&topic.name);
        // Some are refused, when the client is cut off already.
        let _ = (0..400).try_for_each(|_| client.try_send(12, &asked()).map(drop));
    }
    let is_cut = |client: &mut Client| {
        client.send_raw(&[0]).is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
    };
    let mut gone = 0;
    wait_until("some are cut off", || {
        gone = deaf.iter_mut().filter_map(|client| is_cut(client).then_some(())).count();
        client.call(0, &ApiVersionsRequest::default());
        gone > 0
    });
    let grown = super::hostile::peak_memory(&mut node) - before;
    println!("{gone} of {} cut off, memory +{} KiB", deaf.len(), grown >> 10);
    assert!(gone < deaf.len());
    assert!(grown <= 4 * UNSENT_MAX);
    drop(metadata_of(&mut client, &topic.name));
}

fn metadata_request(name: &str) -> kafka_protocol::messages::MetadataRequest {
    use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
    let topic = MetadataRequestTopic::default().with_name(Some(crate::requests::topic_name(name)));
    kafka_protocol::messages::MetadataRequest::default().with_topics(Some(vec![topic]))
}

#[test]
fn a_fetch_does_not_wait_when_too_many_do() {
    let node = Setup::new().with("ottla.waiting.max.bytes", 1).start();
    let topic = create(&mut node.connect(), &fresh("waits"), 1, &[]);
    let (mut first, mut second) = (node.connect(), node.connect());
    let ask = fetch_request(FETCH, &topic, &[(0, 0)]).with_max_wait_ms(3_000);
    first.send(FETCH, &ask);
    // What is behind it is not begun before it is answered.
    let records = [(0, Some(batch(&["behind"])))];
    first.send(PRODUCE, &produce_request(PRODUCE, &topic, 1, &records));
    // Nothing tells that it waits.
    sleep(Duration::from_millis(200));
    let began = Instant::now();
    second.call(FETCH, &ask);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(list_offset(&mut second, &topic, 0, -1).offset, 0);
    first.receive::<FetchRequest>(FETCH);
    first.receive::<ProduceRequest>(PRODUCE);
    assert_eq!(list_offset(&mut second, &topic, 0, -1).offset, 1);
}

#[test]
fn requests_in_work_are_limited() {
    let node = Setup::new().with("ottla.connection.requests.max", 2).start();
    let topic = create(&mut node.connect(), &fresh("pipeline"), 1, &[]);
    let empty = create(&mut node.connect(), &fresh("empty"), 1, &[]);
    let (mut client, mut other) = (node.connect(), node.connect());
    client.send(FETCH, &fetch_request(FETCH, &empty, &[(0, 0)]).with_max_wait_ms(1_500));
    let request = produce_request(PRODUCE, &topic, 1, &[(0, Some(batch(&["v"])))]);
    for _ in 0..3 {
        client.send(PRODUCE, &request);
    }
    wait_until("the second is begun", || list_offset(&mut other, &topic, 0, -1).offset == 1);
    sleep(Duration::from_millis(200));
    assert_eq!(list_offset(&mut other, &topic, 0, -1).offset, 1, "the third is not");
    client.receive::<FetchRequest>(FETCH);
    (0..3).for_each(|_| drop(client.receive::<ProduceRequest>(PRODUCE)));
}

#[test]
fn what_waits_is_limited_for_each_connection() {
    let node = Setup::new().with("ottla.connection.waiting.max.bytes", 1).start();
    let topic = create(&mut node.connect(), &fresh("waiting"), 1, &[]);
    let empty = create(&mut node.connect(), &fresh("empty"), 1, &[]);
    let (mut client, mut other) = (node.connect(), node.connect());
    let ask = fetch_request(FETCH, &empty, &[(0, 0)]).with_max_wait_ms(1_500);
    let request = produce_request(PRODUCE, &topic, 1, &[(0, Some(batch(&["v"])))]);
    client.send(FETCH, &ask);
    client.send(PRODUCE, &request);
    // Others may let theirs wait, too.
    other.send(FETCH, &ask);
    sleep(Duration::from_millis(300));
    assert_eq!(list_offset(&mut node.connect(), &topic, 0, -1).offset, 0, "it is not begun");
    for client in [&mut client, &mut other] {
        let (_, answer) = client.receive::<FetchRequest>(FETCH);
        assert!(answer.responses.iter().all(|topic| topic.topic_id == empty.id));
    }
    client.receive::<ProduceRequest>(PRODUCE);
    assert_eq!(list_offset(&mut other, &topic, 0, -1).offset, 1);
}

/// Asks for megabytes that it does not read, and then writes; whether that was begun, and at the
/// end answered.
fn writes_behind_unread_answers(unsent_max: u32) -> bool {
    let node = Setup::new().with("ottla.connection.unsent.max.bytes", unsent_max).start();
    let mut other = node.connect();
    let topic = create(&mut other, &fresh("unsent"), 5_000, &[]);
    let mut client = node.connect();
    const ASKED: usize = 200;
    (0..ASKED).for_each(|_| _ = client.send(12, &metadata_request(&topic.name)));
    let records = [(0, Some(batch(&["behind"])))];
    client.send(PRODUCE, &produce_request(PRODUCE, &topic, 1, &records));
    let until = Instant::now() + Duration::from_secs(3);
    let mut began = false;
    while !began && Instant::now() < until {
        sleep(Duration::from_millis(50));
        began = list_offset(&mut other, &topic, 0, -1).offset == 1;
    }
    let len: usize = (0..ASKED).map(|_| client.receive_frame().unwrap().len()).sum();
    assert!(len > 16 << 20, "more than sockets hold: {len}");
    client.receive::<ProduceRequest>(PRODUCE);
    assert_eq!(list_offset(&mut other, &topic, 0, -1).offset, 1);
    began
}

/// The socket may take at once what was too much; what was left for it must not be forgotten.
#[test]
fn requests_behind_long_answers_are_begun_when_these_are_sent() {
    let node = Setup::new().with("ottla.connection.unsent.max.bytes", 1).start();
    let mut client = node.connect();
    let versions = super::hostile::encoded(0, &ApiVersionsRequest::default());
    client.send_raw(&versions.repeat(100)).unwrap();
    (0..100).for_each(|_| drop(client.receive::<ApiVersionsRequest>(0)));
}

#[test]
fn no_request_is_begun_behind_answers_that_nobody_reads() {
    assert!(!writes_behind_unread_answers(4 << 10));
    assert!(writes_behind_unread_answers(128 << 20), "it is this limit that held it up");
}

#[test]
fn answers_to_fetches_are_limited() {
    let fetched = |bytes_max: u32| {
        let node = Setup::new().with("fetch.max.bytes", bytes_max).start();
        let mut client = node.connect();
        let topic = long_topic(&mut client);
        let mut request = fetch_request(FETCH, &topic, &[(0, 0)]).with_max_bytes(50 << 20);
        request.topics[0].partitions[0].partition_max_bytes = 50 << 20;
        let answer = client.call(FETCH, &request);
        answer.responses[0].partitions[0].records.as_ref().map_or(0, |records| records.len())
    };
    let (one, three) = (fetched(1024), fetched(3_000_000));
    assert!((900_000..1_000_000).contains(&one), "one batch whatever its size: {one}");
    assert!((2_700_000..=3_000_000).contains(&three), "{three}");
}

#[test]
fn a_request_creates_so_many_partitions() {
    let node = Node::start();
    let ask = |partitions| {
        let topic = creatable(&fresh("partitions"), partitions, &[]);
        let request = create_request(vec![topic]).with_validate_only(true);
        error(node.connect().call(CREATE_TOPICS, &request).topics[0].error_code)
    };
    // One record more for the topic.
    assert_eq!(ask(9_999), ErrorCode::None);
    assert_eq!(ask(10_001), ErrorCode::PolicyViolation);
}

/// Most bytes of requests of the nodes below.
const QUEUED_MAX: usize = 2 << 20;

/// A Produce of one batch of `len` bytes.
fn long_produce(topic: &Topic, len: usize) -> Vec<u8> {
    let records = [(0, Some(batch(&[&"x".repeat(len)])))];
    super::hostile::encoded(PRODUCE, &produce_request(PRODUCE, topic, 1, &records))
}

/// An honest producer is served in ten seconds, though it may be taken for one of the others, who
/// look the same while all wait for memory, and have to come again.
fn produces_soon(node: &Node, topic: &Topic) {
    let began = Instant::now();
    let request = long_produce(topic, 500_000);
    wait_until("an honest producer is served", || {
        let mut client = node.connect();
        client.send_raw(&request).is_ok() && client.receive_frame().is_ok()
    });
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let end = list_offset(&mut node.connect(), topic, 0, -1);
    assert_eq!(error(end.error_code), ErrorCode::None);
    assert!(end.offset > 0, "it was written");
}

#[test]
fn memory_for_requests_is_not_held_by_those_who_send_slowly() {
    let node = Setup::new().with("queued.max.request.bytes", QUEUED_MAX).start();
    let topic = create(&mut node.connect(), &fresh("queued"), 1, &[]);
    let request = long_produce(&topic, 900_000);
    let held: Vec<Client> = (0..10)
        .map(|_| {
            let mut client = node.connect();
            client.send_raw(&request[..400_000]).unwrap();
            client
        })
        .collect();
    produces_soon(&node, &topic);
    drop(held);
}

#[test]
fn memory_for_requests_is_limited() {
    const QUEUED_MAX: u64 = 16 << 20;
    let mut node = Setup::new().with("queued.max.request.bytes", QUEUED_MAX).start();
    let topic = create(&mut node.connect(), &fresh("queued"), 1, &[]);
    let before = super::hostile::peak_memory(&mut node);
    let request = long_produce(&topic, 10_000_000);
    let held: Vec<Client> = (0..20)
        .map(|_| {
            let mut client = node.connect();
            client.write_timeout(Duration::from_millis(50));
            // Most of it is left in the sockets.
            let _ = client.send_raw(&request[..9_000_000]);
            client
        })
        .collect();
    produces_soon(&node, &topic);
    drop(held);
    let grown = super::hostile::peak_memory(&mut node) - before;
    println!("memory +{} KiB", grown >> 10);
    assert!(grown <= 4 * QUEUED_MAX, "memory grew by {} MiB", grown >> 20);
}

/// Twelve requests of which eight beginnings take all memory, and what comes after them: how many
/// of the twelve are answered. One more that comes meanwhile is served.
fn crossed(node: &Node, topic: &Topic) -> usize {
    let request = long_produce(topic, 1_000_000);
    let (first, rest) = request.split_at(250_000);
    scope(|threads| {
        let mut clients: Vec<Client> = (0..12).map(|_| node.connect()).collect();
        clients.iter_mut().for_each(|client| client.send_raw(first).unwrap());
        // Until eight of them have taken all memory, and none has enough; nothing tells.
        sleep(Duration::from_millis(300));
        let send = |mut client: Client| {
            move || client.send_raw(rest).is_ok() && client.receive_frame().is_ok()
        };
        let senders: Vec<_> =
            clients.into_iter().map(|client| threads.spawn(send(client))).collect();
        // On a slow machine it may be this one that has to go.
        let more = long_produce(topic, 500_000);
        wait_until("one more is served", || {
            let mut client = node.connect();
            client.send_raw(&more).is_ok() && client.receive_frame().is_ok()
        });
        let answered = senders.into_iter().map(|it| it.join().unwrap());
        answered.filter(|answered| *answered).count()
    })
}

#[test]
fn requests_do_not_wait_for_each_other_s_memory() {
    let node = Setup::new().with("queued.max.request.bytes", QUEUED_MAX).start();
    let topic = create(&mut node.connect(), &fresh("crossed"), 1, &[]);
    // On a slow machine most of them may have to go, as who sends slowly does.
    wait_until("some are served after all", || crossed(&node, &topic) >= 2);
    let mut client = node.connect();
    let (_, answer) = {
        client.send(LIST_OFFSETS, &list_offsets_request(&topic, 0, -1));
        client.receive::<ListOffsetsRequest>(LIST_OFFSETS)
    };
    assert_eq!(error(answer.topics[0].partitions[0].error_code), ErrorCode::None);
}
