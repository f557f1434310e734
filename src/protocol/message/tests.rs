//! Schemas of their own, in each form that a field can have.

use super::*;

messages! {
    struct Inner { versions: 0..=1, flexible: 1; name: String => 0+, }
    struct Keeper { versions: 0..=2, flexible: 2, keeps: unknown_tags;
        middle: i16 => 1+ ..= 1,
        maybe: Option<Inner> = Some(Inner::default()) => 0+ tag 3,
    }
    struct Sample { versions: 0..=1, flexible: 1;
        id: i32 = -1 => 0+,
        late: i8 => 1+,
        inner: Vec<Inner> => 0+,
        last_tag: Option<Vec<i32>> = None => 1+ tag 7,
        first_tag: Option<String> = None => 1+ tag 2,
    }
}

fn sample() -> Sample {
    let inner = vec![Inner { name: "a".into() }];
    Sample { id: 5, late: 3, inner, last_tag: Some(vec![1]), first_tag: Some("t".into()) }
}

fn encoded(message: &Sample, version: i16) -> Vec<u8> {
    let mut writer = Writer::new();
    message.encode(&mut writer, version);
    writer.into_bytes()
}

#[test]
fn versions_choose_fields_and_their_form() {
    assert_eq!(encoded(&sample(), 0), [0, 0, 0, 5, 0, 0, 0, 1, 0, 1, b'a']);
    let flexible = [
        0, 0, 0, 5, 3, 2, 2, b'a', 0, // fields, one inner struct with its empty tags
        2, 2, 2, 2, b't', 7, 5, 2, 0, 0, 0, 1, // two tags, ascending
    ];
    assert_eq!(encoded(&sample(), 1), flexible);
    assert_eq!(Sample::decode(&mut Reader::new(&flexible), 1), Ok(sample()));
    assert_eq!(encoded(&Sample::default(), 1), [255, 255, 255, 255, 0, 1, 0]);
}

#[test]
fn unknown_tags_are_passed_over() {
    let bytes = [0, 0, 0, 5, 3, 1, 1, 99, 2, 0xaa, 0xbb];
    let read = Sample::decode(&mut Reader::new(&bytes), 1).expect("valid");
    assert_eq!(read, Sample { id: 5, late: 3, ..Sample::default() });
}

#[test]
fn unknown_tags_can_be_kept() {
    let bytes = [3, 1, 1, 0xaa, 3, 1, 0, 9, 0];
    let read = Keeper::decode(&mut Reader::new(&bytes), 2).expect("valid");
    assert_eq!(read.maybe, None);
    assert_eq!(read.unknown_tags.iter().collect::<Vec<_>>(), [(1, &[0xaa][..]), (9, &[])]);
    let mut writer = Writer::new();
    read.encode(&mut writer, 2);
    assert_eq!(writer.into_bytes(), bytes);
}

#[test]
fn fields_may_end_with_a_version() {
    let keeper = Keeper { middle: 7, ..Keeper::default() };
    for (version, bytes) in [(0, &[][..]), (1, &[0, 7]), (2, &[0])] {
        let mut writer = Writer::new();
        keeper.encode(&mut writer, version);
        assert_eq!(writer.into_bytes(), bytes);
    }
}

#[test]
fn json_is_that_of_the_version() {
    assert_eq!(sample().json(0).to_string(), r#"{"id":5,"inner":[{"name":"a"}]}"#);
    assert_eq!(
        sample().json(1).to_string(),
        r#"{"id":5,"late":3,"inner":[{"name":"a"}],"lastTag":[1],"firstTag":"t"}"#
    );
    assert_eq!(Sample::default().json(1).to_string(), r#"{"id":-1,"late":0,"inner":[]}"#);
    assert_eq!(
        Keeper { maybe: None, ..Keeper::default() }.json(0).to_string(),
        r#"{"maybe":null}"#
    );
}

#[test]
fn bad_bytes_are_errors() {
    assert_eq!(Sample::decode(&mut Reader::new(&[0; 3]), 2), Err(DecodeError::UnsupportedVersion));
    let bytes = encoded(&sample(), 1);
    for len in 0..bytes.len() {
        assert!(Sample::decode(&mut Reader::new(&bytes[..len]), 1).is_err(), "{len}");
    }
}
