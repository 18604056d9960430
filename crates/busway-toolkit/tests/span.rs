//! The span that handlers run in, as a subscriber sees it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use busway::Bus;
use busway_toolkit::{BusSource, Dispatcher};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

type Fields = BTreeMap<String, String>;

/// Keeps the fields of every span named `event`.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Fields>>>);

struct Read<'a>(&'a mut Fields);

impl tracing::field::Visit for Read<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl<S: tracing::Subscriber> Layer<S> for Spans {
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        _: &tracing::span::Id,
        _: Context<'_, S>,
    ) {
        if attributes.metadata().name() == "event" {
            let mut fields = Fields::new();
            attributes.record(&mut Read(&mut fields));
            self.0.lock().unwrap().push(fields);
        }
    }
}

struct Scratch(String);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = Bus::remove(&self.0);
    }
}

#[test]
fn handler_runs_in_a_span_that_says_where_its_event_is_from() {
    let scratch = Scratch(format!("toolkit-span-{}", std::process::id()));
    let bus = Bus::options().payload_bytes(8).create(&scratch.0).unwrap();
    let spans = Spans::default();
    let subscriber = tracing_subscriber::registry().with(spans.clone());
    tracing::subscriber::with_default(subscriber, || {
        let mut dispatcher = Dispatcher::builder(BusSource::attach(&bus).unwrap())
            .on(7, |context, _| {
                assert_eq!(tracing::Span::current().id(), context.span().id());
                Ok(())
            })
            .build()
            .unwrap();
        bus.producer().attach().unwrap().publish_bytes(7, b"x").unwrap();
        dispatcher.poll(Duration::from_secs(1)).unwrap();
        assert!(dispatcher.close(Duration::ZERO).is_complete());
    });
    let spans = spans.0.lock().unwrap();
    let fields = &spans[0];
    assert_eq!(fields["bus"], format!("{:?}", scratch.0));
    let numbers = ["kind", "lane", "position", "attempt"].map(|name| fields[name].as_str());
    assert_eq!(numbers, ["7", "0", "0", "1"]);
}
