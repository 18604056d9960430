//! `#[derive(Frame)]` through the public API: what a program that uses busway sees.

// The fields of the types below are read through their schemas.
#![allow(dead_code)]

use busway::Frame;
use busway::schema::{FieldType, Schema, Value};
use busway::zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Declares a frame with all the derives, so that the tests show only what differs.
macro_rules! frame {
    ($($item:tt)*) => {
        #[derive(Clone, Copy, Debug, Frame, FromBytes, Immutable, IntoBytes, KnownLayout)]
        #[zerocopy(crate = "busway::zerocopy")]
        #[repr(C)]
        $($item)*
    };
}

type Nanoseconds = u64;

frame! {
    #[frame(kind = 7, name = "cpu")]
    struct Cpu {
        /// When it was
        /// read.
        ///
        /// A second paragraph, which tools do not show.
        #[frame(unit = "ns")]
        time_ns: Nanoseconds,
        load: [f32; 3],
        core: u16,
        _pad: [u8; 2],
        #[frame(text)]
        host: [u8; 8],
    }
}

frame! {
    struct Point { x: f32, y: f32 }
}

frame! {
    struct Robot {
        /// Where it stands.
        #[frame(unit = "m")]
        pos: Point,
        r#type: u32,
        legs: [Point; 2],
        turn: [[i16; 3]; 2],
    }
}

fn names<T: Frame>() -> Vec<String> {
    T::schema().fields.into_iter().map(|field| field.name).collect()
}

#[test]
fn layout_is_that_of_the_struct() {
    let schema = Cpu::schema();
    assert_eq!((schema.name.as_str(), schema.kind), ("cpu", 7));
    assert_eq!((Cpu::NAME, Cpu::KIND), ("cpu", 7));
    assert_eq!(schema.size_bytes as usize, size_of::<Cpu>());
    assert_eq!(schema.align_bytes as usize, align_of::<Cpu>());
    assert_eq!(
        schema.layout_text(),
        "size 32\ntime_ns u64 0\nload f32[3] 8\ncore u16 20\nhost text[8] 24\n"
    );
    schema.check().unwrap();
}

#[test]
fn units_and_the_first_paragraph_of_docs_are_kept() {
    let schema = Cpu::schema();
    let time = schema.field("time_ns").unwrap();
    assert_eq!(time.unit.as_deref(), Some("ns"));
    assert_eq!(time.doc.as_deref(), Some("When it was read."));
    assert_eq!(time.field_type, FieldType::U64, "an alias is its type");
    assert_eq!(schema.field("load").unwrap().doc, None);
}

#[test]
fn name_and_kind_have_defaults() {
    assert_eq!((Point::NAME, Point::KIND), ("Point", 0));
    assert_eq!(Schema::of::<Point>(), Point::schema());
}

#[test]
fn nested_frames_have_dotted_names_and_outer_notes() {
    assert_eq!(
        Robot::schema().layout_text(),
        "size 40\npos.x f32 0\npos.y f32 4\ntype u32 8\nlegs.0.x f32 12\nlegs.0.y f32 16\n\
         legs.1.x f32 20\nlegs.1.y f32 24\nturn i16[6] 28\n"
    );
    let y = Robot::schema().field("pos.y").cloned().unwrap();
    assert_eq!(y.unit.as_deref(), Some("m"));
    assert_eq!(y.doc.as_deref(), Some("Where it stands."));
}

#[test]
fn hash_is_the_same_constant_at_run_time() {
    const HASH: u64 = Cpu::SCHEMA_HASH;
    assert_eq!(HASH, Cpu::schema().hash());
    assert_eq!(Robot::SCHEMA_HASH, Robot::schema().hash());
    let read_back = Schema::from_json(Robot::schema().to_json().unwrap()).unwrap();
    assert_eq!(read_back, Robot::schema());
    assert_eq!(read_back.hash(), Robot::SCHEMA_HASH);
}

#[test]
fn hash_is_pinned_by_the_format() {
    // FNV-1a 64 of the layout text above, computed outside this program.
    assert_eq!(Cpu::SCHEMA_HASH, 0xc387_3ebd_597b_2bf3);
}

mod elsewhere {
    use super::{Frame, FromBytes, Immutable, IntoBytes, KnownLayout};

    frame! {
        /// The same layout under other names for the whole and its padding.
        #[frame(kind = 9)]
        pub struct Processor {
            pub time_ns: u64,
            pub load: [f32; 3],
            pub core: u16,
            pub _reserved: u16,
            #[frame(text, unit = "host")]
            pub host: [u8; 8],
        }
    }

    frame! {
        pub struct Flat {
            pub x: f32,
            pub y: f32,
        }
    }
}

#[test]
fn same_layout_has_the_same_hash_whatever_the_type_is_called() {
    assert_eq!(Cpu::SCHEMA_HASH, elsewhere::Processor::SCHEMA_HASH);
    assert_eq!(Point::SCHEMA_HASH, elsewhere::Flat::SCHEMA_HASH);
}

frame! {
    struct Renamed { x: f32, z: f32 }
}
frame! {
    struct Swapped { y: f32, x: f32 }
}
frame! {
    struct Retyped { x: f32, y: u32 }
}
frame! {
    struct Array { x: [f32; 2] }
}
frame! {
    struct Longer { x: f32, y: f32, _pad: u32 }
}
frame! {
    struct AsBytes { name: [u8; 8] }
}
frame! {
    struct AsText { #[frame(text)] name: [u8; 8] }
}

#[test]
fn another_layout_has_another_hash() {
    let hashes = [
        Point::SCHEMA_HASH,
        Renamed::SCHEMA_HASH,
        Swapped::SCHEMA_HASH,
        Retyped::SCHEMA_HASH,
        Array::SCHEMA_HASH,
        Longer::SCHEMA_HASH,
        AsBytes::SCHEMA_HASH,
        AsText::SCHEMA_HASH,
    ];
    let different: std::collections::HashSet<_> = hashes.iter().collect();
    assert_eq!(different.len(), hashes.len(), "{hashes:x?}");
}

#[test]
fn a_document_by_hand_matches_the_type() {
    let schema = Schema::from_json(
        r#"{"name": "whatever", "fields": [
            {"name": "time_ns", "type": "u64"},
            {"name": "load", "type": "f32", "count": 3},
            {"name": "core", "type": "u16"},
            {"name": "_unused", "type": "u16"},
            {"name": "host", "type": "text", "count": 8}
        ]}"#,
    );
    assert_eq!(schema.unwrap().hash(), Cpu::SCHEMA_HASH);
}

#[test]
fn bytes_of_a_value_decode_to_its_fields() {
    let cpu = Cpu {
        time_ns: u64::MAX,
        load: [0.1, -2.0, 3.5],
        core: 3,
        _pad: [0; 2],
        host: *b"alpha\0\0\0",
    };
    let schema = Cpu::schema();
    let load = [0.1, -2.0, 3.5].map(Value::F64).to_vec();
    assert_eq!(
        schema.decode(cpu.as_bytes()),
        [
            ("time_ns".to_owned(), Value::U64(u64::MAX)),
            ("load".to_owned(), Value::List(load)),
            ("core".to_owned(), Value::U64(3)),
            ("host".to_owned(), Value::Text("alpha".to_owned())),
        ]
    );
    let back = schema.encode(&schema.decode_json(cpu.as_bytes())).unwrap();
    assert_eq!(back, cpu.as_bytes());
}

#[test]
fn array_elements_of_nested_frames_decode_by_index() {
    let mut payload = vec![0; size_of::<Robot>()];
    Robot::schema().set(&mut payload, "legs.1.y=2.5").unwrap();
    Robot::schema().set(&mut payload, "turn=1,2,3,4,5,-6").unwrap();
    let robot = Robot::read_from_bytes(&payload).unwrap();
    assert_eq!(robot.legs[1].y.to_bits(), 2.5_f32.to_bits());
    assert_eq!(robot.turn, [[1, 2, 3], [4, 5, -6]]);
    assert_eq!(names::<Robot>().len(), 8);
}
