//! Topics page by page. What is expected here is what Apache Kafka 4.3.1 answered.

use kafka_protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};
use ottla_types::ErrorCode;

use crate::apis::topics_request;
use crate::client::Client;
use crate::node::{Setup, fresh};
use crate::requests::{create, error};

/// Topics with the indexes of their partitions, and where the next page begins.
type Page = (Vec<(String, Vec<i32>)>, Option<(String, i32)>);

fn page(answer: &DescribeTopicPartitionsResponse) -> Page {
    let topics = answer.topics.iter().map(|topic| {
        assert_eq!(error(topic.error_code), ErrorCode::None);
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
        (topic.name.as_ref().unwrap().to_string(), indexes.collect())
    });
    let next = answer.next_cursor.as_ref();
    let next = next.map(|next| (next.topic_name.to_string(), next.partition_index));
    (topics.collect(), next)
}

fn ask(client: &mut Client, request: &DescribeTopicPartitionsRequest) -> Page {
    page(&client.call(0, request))
}

#[test]
fn pages_come_in_order_and_say_where_the_next_one_begins() {
    let node = Setup::new().with("max.request.partition.size.limit", 4).start();
    let client = &mut node.connect();
    let (t, u) = (fresh("t"), fresh("u"));
    create(client, &t, 2, &[]);
    create(client, &u, 3, &[]);
    let of = |name: &str, indexes: &[i32]| (name.to_owned(), indexes.to_vec());
    let at = |name: &str, index| Some((name.to_owned(), index));
    let both = [&*u, &*t];
    // More than the broker gives is not given.
    let expected = (vec![of(&t, &[0, 1]), of(&u, &[0, 1])], at(&u, 2));
    assert_eq!(ask(client, &topics_request(&both, 2000, None)), expected);
    assert_eq!(ask(client, &topics_request(&[], 2000, None)), expected);
    let expected = (vec![of(&t, &[0, 1]), of(&u, &[0])], at(&u, 1));
    assert_eq!(ask(client, &topics_request(&both, 3, None)), expected);
    let expected = (vec![of(&t, &[0, 1])], at(&u, 0));
    assert_eq!(ask(client, &topics_request(&both, 2, None)), expected, "the next topic begins");
    for limit in [1, 0, -1] {
        let expected = (vec![of(&t, &[0])], at(&t, 1));
        assert_eq!(ask(client, &topics_request(&both, limit, None)), expected, "one at least");
    }
    let expected = (vec![of(&u, &[1, 2])], None);
    for names in [&both[..], &[]] {
        assert_eq!(ask(client, &topics_request(names, 3, Some((&u, 1)))), expected);
    }
    let request = topics_request(&both, 3, Some((&u, 9)));
    assert_eq!(ask(client, &request), (vec![of(&u, &[])], None), "behind the last one");
    // Everything, page by page.
    let (mut seen, mut cursor) = (Vec::new(), None::<(String, i32)>);
    loop {
        let from = cursor.as_ref().map(|(name, index)| (&**name, *index));
        let (topics, next) = ask(client, &topics_request(&[], 1, from));
        seen.extend(topics.into_iter().flat_map(|(name, indexes)| {
            indexes.into_iter().map(move |index| (name.clone(), index))
        }));
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    let of =
        |name: &String, count| (0..count).map(|index| (name.clone(), index)).collect::<Vec<_>>();
    assert_eq!(seen, [of(&t, 2), of(&u, 3)].concat());
    // A cursor must be among what is asked for, and be possible.
    for cursor in [("between", 0), (&*u, -1)] {
        let answer = client.call(0, &topics_request(&both, 3, Some(cursor)));
        let codes: Vec<_> = answer.topics.iter().map(|topic| error(topic.error_code)).collect();
        assert_eq!(codes, [ErrorCode::InvalidRequest; 2]);
        assert_eq!(answer.topics[0].topic_authorized_operations, i32::MIN);
    }
    let missing = fresh("a-missing-one");
    let answer = client.call(0, &topics_request(&[&missing, &u], 1, Some((&missing, 0))));
    let codes: Vec<_> = answer.topics.iter().map(|topic| error(topic.error_code)).collect();
    assert_eq!(codes, [ErrorCode::UnknownTopicOrPartition, ErrorCode::None]);
    assert_eq!(answer.next_cursor.unwrap().partition_index, 1, "it takes no room");
}
