#!/bin/sh
# Weakens one line of the protocol at a time and runs the model that must notice.
#
#   tests/mutants.sh [NAME...]      all, or those named
#
# Works on a copy of the protocol's floors (lane, order, cells and what they stand on) in a temporary
# directory, as a crate of their own that builds in seconds. A mutant is *caught* when its model
# fails, *missed* when it passes; one that does not apply any more is an error. `docs/models.md`
# explains each.
set -u

tree=$(cd "$(dirname "$0")/.." && pwd)
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$tree/target/loom}"
export RUSTFLAGS="--cfg loom" RUST_BACKTRACE=0
# Cargo takes two copies of the crate for the same one, so two runs would judge each other's mutants.
mkdir -p "$CARGO_TARGET_DIR"
exec 9>"$CARGO_TARGET_DIR/mutants.lock"
flock -n 9 || { echo "mutants.sh runs already in $CARGO_TARGET_DIR" >&2; exit 1; }
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$copy/src/layout/table"
cp -R "$tree/src/lane" "$tree/src/claims" "$tree/src/order" "$tree/src/cells" "$tree/src/sync" "$copy/src"
mkdir -p "$copy/src/waiter"
cp -R "$tree/src/waiter/post.rs" "$tree/src/waiter/post" "$copy/src/waiter"
cp "$tree/src/crash.rs" "$tree/src/fnv.rs" "$copy/src"
cp "$tree/src/layout/words.rs" "$tree/src/layout/entry.rs" "$tree/src/layout/state.rs" \
    "$tree/src/layout/claim.rs" "$tree/src/layout/share.rs" \
    "$copy/src/layout"
cp "$tree/src/layout/table/words.rs" "$copy/src/layout/table"
cp "$tree/Cargo.lock" "$copy"
cat >"$copy/Cargo.toml" <<'END'
[package]
name = "protocol"
version = "0.0.0"
edition = "2024"
[target.'cfg(loom)'.dependencies]
loom = "0.7"
[lints.rust]
unexpected_cfgs = "allow"
[profile.release]
debug = "line-tables-only"
[workspace]
END
cat >"$copy/src/lib.rs" <<'END'
#![allow(dead_code, unused)]
mod cells;
mod claims;
mod crash;
mod fnv;
mod lane;
mod layout {
    pub(crate) mod claim;
    pub(crate) mod entry;
    pub(crate) mod share;
    pub(crate) mod state;
    pub(crate) mod table {
        pub(crate) mod words;
    }
    pub(crate) mod words;
}
mod order;
mod sync;
mod waiter {
    mod post;
}
END
cd "$copy" || exit 1
names=" $* "
failed=0
cargo test -q --release --lib --no-run || exit 1

# run FILTER: the models whose names contain it. Sets `seen` to the first that failed.
run() {
    timeout 300 cargo test -q --release --lib "$1" >"$copy/out" 2>&1
    code=$?
    seen=$(sed -n 's/^---- \(.*\) stdout ----$/\1/p' "$copy/out" | head -n 1)
    [ "$code" = 124 ] && seen="(no end in 300 s)"
    return "$code"
}

# mutant NAME FILE PERL FILTER: changes FILE by the Perl expression, expects FILTER to fail.
mutant() { try caught "$@"; }

# equal NAME FILE PERL FILTER: the same where the weakening is known to change nothing.
equal() { try equal "$@"; }

try() {
    expected=$1
    shift
    case "$names" in "  " | *" $1 "*) ;; *) return ;; esac
    cp "$2" "$copy/pristine"
    perl -0pi -e "$3" "$2"
    if cmp -s "$2" "$copy/pristine"; then
        printf '%-9s %s\n' "error" "$1: nothing to change in $2"
        failed=1
        return
    fi
    if ! cargo test -q --release --lib --no-run >"$copy/out" 2>&1; then
        printf '%-9s %s\n' "error" "$1: does not build"
        failed=1
    else
        found=caught
        run "$4" && found=equal seen=""
        if [ "$found" != "$expected" ]; then
            failed=1
            [ "$expected" = caught ] && found=missed || found=unequal
        fi
        printf '%-9s %-34s %s\n' "$found" "$1" "$seen"
    fi
    cp "$copy/pristine" "$2"
}

writer=src/lane/writer.rs reader=src/lane/reader.rs join=src/lane/join.rs lossy=src/lane/lossy.rs
owriter=src/order/writer.rs oreader=src/order/reader.rs omod=src/order/mod.rs
ojoin=src/order/join.rs recover=src/order/recover.rs
claims=src/claims/mod.rs cmodel=src/claims/model.rs shares=src/claims/shares.rs smodel=src/claims/shares/model.rs
lmodel=src/lane/model.rs omodel=src/order/model.rs
state=src/layout/state.rs kept=src/lane/kept.rs
bell=src/sync/bell.rs bmodel=src/sync/bell/model.rs post=src/waiter/post.rs pmodel=src/waiter/post/model.rs
lcrash=src/lane/model/crash.rs ldeclare=src/lane/model/declare.rs ocrash=src/order/model/crash.rs

# Lane: handing over.
mutant head-store-relaxed $writer 's/(head\.store\(self\.head, Ordering::)Release/$1Relaxed/' lane::model::frames
mutant head-load-relaxed $reader 's/(head\.load\(Ordering::)Acquire/$1Relaxed/' lane::model::frames
mutant cursor-store-relaxed $reader 's/(cursor\.store\(self\.position, Ordering::)Release/$1Relaxed/' lane::model::frames
equal cursor-load-relaxed $writer 's/(cursor\.load\(Ordering::)Acquire/$1Relaxed/' lane::model::frames
equal bits-load-relaxed $writer 's/(attached\(\)\.load\(Ordering::)Acquire/$1Relaxed/' lane::model::consumer_that_leaves
mutant cursor-unread $writer 's/gate = earlier\(gate, cursor\.wrapping_add\(self\.capacity\)\);//' lane::model::slower
mutant batch-by-pieces $writer 's/self\.head = self\.head\.wrapping_add\(count\);/for _ in 1..count { self.head = self.head.wrapping_add(1); self.words.head.store(self.head, Ordering::Release); } self.head = self.head.wrapping_add(1);/' lane::model::batch

# Lane: joining.
mutant renew-fence-dropped $writer 's/fence\(Ordering::SeqCst\);//' lane::model::join
mutant renew-second-look-dropped $writer 's/earlier\(credit, self\.gate\(\)\.0\)/credit/' lane::model::join
mutant renew-forgets-announced $writer 's/let announce = later\(credit, self\.announced\)/let announce = credit/' lane::model::tenant_of
mutant begin-fence-dropped $join 's/fence\(Ordering::SeqCst\);//' lane::model::join
equal join-bit-relaxed $join 's/(fetch_or\(1 << \(consumer & 63\), Ordering::)Release/$1Relaxed/' lane::model::join
mutant join-ignores-reserve $join 's/(reserve\.load\(Ordering::Relaxed\);\s+let held = oldest_held\(head, )later\(reserve, head\)/$1later(head, head)/' lane::model::join
mutant join-ignores-placed $join 's/later\(held, placed\)/later(held, held)/' lane::model::announcement_taken_back

# Lane: lossy copies.
mutant overwrite-fence-dropped $writer 's/fence\(Ordering::Release\);//' lane::model::announcement_of
mutant overwrite-unannounced $writer 's/self\.words\.reserve\.store\(self\.announced, Ordering::Relaxed\);(\s+\/\/ ORDERING: release)/$1/' lane::model::copy
mutant overwrite-forgets-announced $writer 's/later\(self\.announced, self\.head\.wrapping_add\(count\)\)/self.head.wrapping_add(count)/' lane::model::tenant_after
mutant copy-fence-dropped $lossy 's/fence\(Ordering::Acquire\);//' lane::model::announcement_of
mutant copy-check-dropped $lossy 's/!is_before\(position, self\.first_whole\)/!is_before(position, position)/' lane::model::copy
mutant observer-fence-dropped $writer 's/fence\(Ordering::SeqCst\);//' lane::model::observer

# Order ring: deciding an entry.
mutant commit-cas-relaxed $owriter 's/(compare_exchange\(old, new, Ordering::)Release/$1Relaxed/' order::model::two_producers
mutant entry-load-relaxed $oreader 's/(slot\.load\(Ordering::)Acquire/$1Relaxed/' order::model::two_producers
mutant commit-by-store $owriter 's/entry\s*\.compare_exchange\(old, new, Ordering::Release, Ordering::Relaxed\)\s*\.is_ok\(\)/{ entry.store(new, Ordering::Release); true }/' order::model::punched
mutant punch-by-store $oreader 's/slot\s*\.compare_exchange\(old, tomb, Ordering::Release, Ordering::Relaxed\)\s*\.is_ok\(\)/{ let _ = old; slot.store(tomb, Ordering::Release); true }/' order::model::punched
mutant lap-unchecked $owriter 's/against\(lap\)\.is_ge\(\)/against(lap).is_lt() \&\& false/' order::model::punched
mutant retry-dropped $owriter 's/for lost in 0\.\.ATTEMPTS_MAX/for lost in 0..1/' order::model::punched

# Order ring: reusing an entry.
mutant reuse-ungated $owriter 's/earlier\(credit, self\.gate\(ticket\)\)/credit/' order::model::entry_is_not
mutant reuse-one-too-many $omod 's/wrapping_add\(entries\)\);/wrapping_add(entries).wrapping_add(1));/' order::model::entry_is_not
mutant punch-ungated $oreader 's/if !self\.is_free\(\)/if false \&\& !self.is_free()/' order::model::consumer_ahead
mutant order-renew-fence-dropped $owriter 's/fence\(Ordering::SeqCst\);//' order::model::joiner_at_oldest_holds_the
mutant order-credit-unbounded $ojoin 's/laps\.entries\(\) - \(laps\.entries\(\) \/ 4\)\.max\(1\)/laps.entries()/' order::model::joiner_at_oldest_starts

# Order ring: joining.
mutant walk-past-what-is-held $ojoin 's/if frames > held\.head\.wrapping_sub\(held\.oldest\)/if false/' order::model::joiner_at_oldest
mutant walk-counts-tombs-only $ojoin 's/\*back = frames;//' order::model::joiner_at_oldest
mutant position-unconfirmed $omodel 's/if recorded\(/if false \&\& recorded(/' order::model::joiner
mutant settling-dropped $omodel 's/self\.lanes\[number\]\.jump\(head\);(\s+self\.release_lane)/$1/' order::model::joiner

# Order ring: recovery.
mutant recovery-drops-the-run $recover 's/Equal => head\.wrapping_add\(entry\.run\(\)\.min\(batch_max\)\)/Equal => head/' order::model::crash
mutant recovery-counts-twice $recover 's/load\(Ordering::Relaxed\) != head/load(Ordering::Relaxed) != head \&\& false/' order::model::crash
mutant recovery-believes-in-tickets $recover 's/Less => head/Less => head.wrapping_add(1)/' order::model::crash
mutant recovery-ignores-cursors $recover 's/\.fold\(head, later\)/.fold(head, |head, _| head)/' order::model::run_of
mutant recovery-entry-relaxed $recover 's/(slot\.load\(Ordering::)Acquire/$1Relaxed/' order::model::run_of
mutant order-cursor-store-relaxed $oreader 's/(cursor\.store\(self\.next, Ordering::)Release/$1Relaxed/' order::model::run_of
mutant order-cursor-load-relaxed $omod 's/(cursor\.load\(Ordering::)Acquire/$1Relaxed/' order::model::run_of
mutant punch-cas-relaxed $oreader 's/(compare_exchange\(old, tomb, Ordering::)Release/$1Relaxed/' order::model::run_of

# Deaths at every step, and who puts in order what they left.
mutant overwrite-unannounced-at-first $lmodel 's/self\.writer\.overwrite\(count\);(\s+)self\.store_words\(count\);/self.store_words(count);$1self.writer.overwrite(count);/' lane::model::crash::copy
mutant announced-is-forgotten-in-death $writer 's/later\(words\.reserve\.load\(Ordering::Relaxed\), head\)/head/' lane::model::crash
mutant consumer-uncleared $lcrash 's/lane\.clear_consumer\(0\);//' lane::model::crash
mutant record-after-commit $owriter 's/record\(ticket\);.*?if self\.decide\(ticket, count\) \{/if self.decide(ticket, count) { record(ticket);/s' order::model::crash
mutant head-before-commit $omodel 's/let result = self\.order\.commit/lane.head.store(first.wrapping_add(count), Ordering::Release);\n        let result = self.order.commit/' order::model::crash
mutant lane-cursor-after-order-cursor $omodel 's/self\.release_lane\(number\);(\s+)self\.release_order\(\);/self.release_order();$1self.release_lane(number);/' order::model::run_of
mutant reclaim-looks-once $ocrash 's/let dead = self\.seat\(number\)\.is_taken\(\);/let dead = true;/' order::model::crash::seat
mutant reclaim-frees-first $ocrash 's/self\.recover\(number\);(\s+)(self\.seat\(number\)\.state\.store\(0, Ordering::Release\);)/$2$1self.recover(number);/' order::model::crash::recoverer
mutant lock-by-store $ocrash 's/self\.lock\.compare_exchange\(0, holder, Ordering::Acquire, Ordering::Relaxed\)\.is_ok\(\)/{ self.lock.store(holder, Ordering::Release); true }/' order::model::crash::seat
mutant take-unrecovered $ocrash 's/if self\.seat\(number\)\.is_taken\(\) \{/if false {/' order::model::crash::recoverer

# Declaring death, beside newcomers in the same seat.
mutant bury-by-store $ldeclare 's/let _said =\s*self\.state\.compare_exchange\(old, new, Ordering::AcqRel, Ordering::Relaxed\);/let _ = old; self.state.store(new, Ordering::Release);/' lane::model::declare::newcomer
mutant bury-cas-relaxed $ldeclare 's/(compare_exchange\(old, new, Ordering::)AcqRel/$1Relaxed/' lane::model::declare::dead
mutant declare-unlooked $ldeclare 's/state\.is_taken\(\) \&\& !self\.seat\(\)\.is_inhabited\(\)/state.is_taken()/' lane::model::declare::dead
mutant declare-looks-first $ldeclare 's/let state = self\.seat\(\)\.state\(\);(\s+if state\.is_taken\(\) \&\& )!self\.seat\(\)\.is_inhabited\(\)/let lives = self.seat().is_inhabited(); let state = self.seat().state();$1!lives/' lane::model::declare::newcomer
mutant lock-any-is-life $ldeclare 's/Acquire\) & SITS != 0/Acquire) != 0/' lane::model::declare::recoverer
mutant sits-unkept $ldeclare 's/self\.seat\(\)\.sit\(NEWCOMER\);//' lane::model::declare::newcomer
mutant declare-dropped $ldeclare 's/self\.seat\(\)\.bury\(state\);//' lane::model::declare::recoverer
mutant dead-gate $writer 's/if self\.gates\.lets_go\(consumer, self\.head\)/if false/' lane::model::declare::recoverer
mutant epoch-kept $state 's/self\.epoch\(\)\.wrapping_add\(1\) << EPOCH_SHIFT \| TAKEN/self.epoch() << EPOCH_SHIFT | TAKEN/' lane::model::declare::newcomer
mutant newcomer-unseen $writer 's/earlier\(credit, self\.gate\(\)\.0\)/credit/' lane::model::declare::newcomer
mutant state-load-relaxed $ldeclare 's/(SeatState::from_word\(self\.state\.load\(Ordering::)Acquire(\)\)\n)/$1Relaxed$2/' lane::model::declare::newcomer
equal standing-load-relaxed $ldeclare 's/(self\.state\.load\(Ordering::)Acquire(\)\)\.is_dead)/$1Relaxed$2/' lane::model::declare

# Where a tenancy ended.
mutant kept-end-relaxed $kept 's/(kept_end\.store\(head, Ordering::)Release/$1Relaxed/' lane::model::kept
mutant kept-end-load-relaxed $kept 's/(kept_end\.load\(Ordering::)Acquire/$1Relaxed/' lane::model::kept
mutant kept-epoch-first $kept 's/(let end = words\.kept_end.*?;\n)(.*?)if words\.kept_epoch\.load\(Ordering::Relaxed\) == epoch/let kept = words.kept_epoch.load(Ordering::Relaxed);\n$1 if kept == epoch/s' lane::model::kept
mutant kept-by-nobody $kept 's/if words\.kept_epoch\.load\(Ordering::Relaxed\) == epoch \{(\s+\/\/ ORDERING: relaxed; as)/if true {$1/' lane::model::kept

# Sleeping: the fences stand in the model, since the real ones are the kernel's.
mutant publisher-fence-dropped $lmodel 's/(producer\.publish\(1\);\s+)fence\(Ordering::SeqCst\);/$1/' lane::model::sleeper
mutant sleeper-fence-dropped $lmodel 's/(fetch_or\(1, Ordering::Relaxed\);\s+)fence\(Ordering::SeqCst\);/$1/' lane::model::sleeper
mutant wait-set-fence-dropped $bmodel 's/(\.collect\(\);\s+)fence\(Ordering::SeqCst\);/$1/' bell::model::sleeper_on
mutant wait-set-looks-too-early $bmodel 's/(\n +let beds.*?;)(.*?)(\n +let has_work.*?;)/$3$1$2/s' bell::model::sleeper_on
equal bell-read-after-its-bit $bell 's/(\n +\/\/ ORDERING: acquire.*?\n +let rung = [^;]*;)(.*?self\.sleepers\.fetch_or[^;]*;)/$2$1/s' bell::model
mutant bell-takes-bit-back-only $bell 's/self\.doorbell\.fetch_add\(1, Ordering::Release\);//' bell::model
mutant waiter-forgets-what-it-saw $post 's/if rung == self\.rung \{/self.rung = rung;\n if rung == self.rung {/' post::model
mutant task-looks-before-it-waits $pmodel 's/(\n +scene\.post\.lock.*?leave.*?;)(.*?)(\n +let is_pending.*?;)/$3$1$2/s' post::model
mutant sleeper-looks-too-early $lmodel 's/(\n +sleepers\.fetch_or.*?;)(.*?)(\n +let asleep = .*?;)/$3$1$2/s' lane::model::sleeper

# Claims: members of a group.
mutant claim-by-store $claims 's/word\.compare_exchange\(old, new, Ordering::AcqRel, Ordering::Relaxed\)\.is_ok\(\)/{ let _ = old; word.store(new, Ordering::Release); true }/' claims::model::two_members
mutant acknowledged-by-store $claims 's/self\.exchange\(position, claim, ClaimWord::done/self.exchange(position, self.word(position), ClaimWord::done/' claims::model::late
mutant claim-cas-relaxed $claims 's/(word\.compare_exchange\(old, new, Ordering::)AcqRel/$1Relaxed/' claims::model::gate_is
mutant claim-gate-relaxed $claims 's/(gate\.compare_exchange\(old, new, Ordering::)AcqRel/$1Relaxed/' claims::model::gate_is
mutant claim-head-relaxed $claims 's/(let head = head\.load\(Ordering::)Acquire/$1Relaxed/' claims::model::gate_is
mutant gate-past-claims $claims 's/self\.word\(position\)\) != Stand::Done/self.word(position)) == Stand::Fresh/' claims::model::gate_is
mutant claim-copy-unchecked $claims 's/load\(Ordering::Relaxed\) == claim\.word\(\)/load(Ordering::Relaxed) != 0/' claims::model::gate_and
mutant claim-copy-unfenced $claims 's/fence\(Ordering::Acquire\);//' claims::model::gate_and
mutant claim-seat-unlooked $cmodel 's/ && !lane\.lets_go\(0\) \{/ {/' claims::model::removed
mutant claim-seat-looked-at-first $cmodel 's/(let copy = [^\n]*\n\s*lane\.step\(\);\n\s*if lane\.claims\(\)\.holds\(position, claim\) && )!lane\.lets_go\(0\)/let is_there = !lane.lets_go(0); $1is_there/' claims::model::removed
mutant claim-head-ahead-is-corrupt $cmodel 's/assert!\(lane\.lets_go\(0\)/assert!(false/' claims::model::removed

# Groups: shares of keys. What a member does around the protocol is in the model, so is weakened there.
mutant share-fence-dropped $shares 's/fence\(Ordering::SeqCst\);//' shares::model::frames_of_a_share_are_in_one_members_hands_wh
mutant share-not-looked-at-again $shares 's/load\(Ordering::Relaxed\) == own\.word\(\)/load(Ordering::Relaxed) != 0/' shares::model::frames_of_a_share_are_in_one_members_hands_wh
mutant share-opened-unsurveyed $smodel 's/if self\.take\(\) && self\.survey\(false\)/if self.take()/' shares::model::frames_of_a_share_are_in_one_members_hands_wh
mutant share-surveyed-first $smodel 's/if self\.take\(\) && self\.survey\(false\)/if self.survey(false) \&\& self.take()/' shares::model::frames_of_a_share_are_in_one_members_hands_wh
mutant share-claims-gone-by $smodel 's/_ => break,/_ => continue,/' shares::model
# Cells: reading and writing.
cread=src/cells/read.rs cwrite=src/cells/write.rs cclaim=src/cells/claim.rs
crecover=src/cells/recover.rs cbell=src/cells/bell.rs cmodel=src/cells/model.rs
mutant cell-cas-relaxed $cwrite 's/Ordering::AcqRel,\s+Ordering::Acquire/Ordering::Relaxed, Ordering::Relaxed/' cells::model::copy
mutant cell-cas-is-a-store $cwrite 's/word\s*\.compare_exchange\(.*?\);\n/{ word.store(new.word(), Ordering::Release); Ok::<u64, u64>(0) };\n/s' cells::model::two_writers
mutant cell-load-relaxed src/cells/mod.rs 's/(word\.load\(Ordering::)Acquire/$1Relaxed/' cells::model::copy
mutant stamp-kept $cwrite 's/slot\.stamp\.store\(0, Ordering::Release\);//' cells::model::copy
mutant fill-fence-dropped $cwrite 's/fence\(Ordering::Release\);//' cells::model::copy
mutant look-fence-dropped $cread 's/fence\(Ordering::Acquire\);//' cells::model::copy
mutant look-stamp-dropped $cread 's/if slot\.stamp\.load\(Ordering::Acquire\) == wanted/if true/' cells::model::copy
mutant stamp-taken-relaxed $cwrite 's/(stamp\.store\(0, Ordering::)Release/$1Relaxed/' cells::model::copy
mutant insert-does-not-look-again $cwrite 's/if let Ok\(written\) = self\.attempt\(cell, CellWord::EMPTY, slot\)\? \{/let tried = self.attempt(cell, CellWord::EMPTY, slot)?;\n if tried.is_err() { return self.replace(cell, slot, expected); }\n if let Ok(written) = tried {/' cells::model::two_keys
mutant count-of-keys-kept $cwrite 's/written\.version != 1/false/' cells::model::key_that

# Cells: whose a slot is.
mutant owner-not-taken $cwrite 's/slot\.owner\.store\(self\.me, Ordering::Release\);//' cells::model
mutant desk-says-nothing $cwrite 's/desk\.at\.store\(u64::from\(cell\) \+ 1, Ordering::Release\);//' cells::model::writer_that
mutant desk-stays-while-it-changes $cwrite 's/desk\.at\.store\(0, Ordering::Release\);//' cells::model
mutant desk-after-the-cell $cwrite 's/declare\(&desk, cell, old, new\);//; s/crash_point!\(CellSet\);/declare(&desk, cell, old, new);/' cells::model::writer_that
mutant settle-always $crecover 's/&& self\.was_made\(cell, new, dead\)\?//' cells::model::writer_that
mutant settle-never $crecover 's/self\.slot\(old\.slot\(\)\)\?\.owner\.store\(dead, Ordering::Release\);//' cells::model
mutant settle-asks-no-desk $crecover 's/if desk\.replaces\.load\(Ordering::Acquire\) == version/if false/' cells::model::writer_that
mutant settle-takes-the-version-for-the-word $crecover 's/&& desk\.old\.load\(Ordering::Acquire\) == new\.word\(\)//' cells::model::writer_that_dies_any
mutant settle-asks-no-owner $crecover 's/Ok\(self\.slot\(new\.slot\(\)\)\?\.owner\.load\(Ordering::Acquire\) != dead\)/Ok(false)/' cells::model
mutant settle-clears-first $crecover 's/(crash_point!\(DeskSettled\);\s+)clear\(&desk\);//; s/(let desk = self\.memory\.desk\(seat\)\.ok_or\(Fault::Corrupt\)\?;\n)(.*?let new = [^\n]*\n)/$1$2        clear(&desk);\n/s' cells::model::recoverer
mutant claim-asks-no-desk $cclaim 's/note\(CellWord::from_word\(desk\.old\.load\(Ordering::Acquire\)\)\);//' cells::model::slots_of
mutant claim-asks-no-cell $cclaim 's/note\(self\.cells\.load\(cell\)\?\);//' cells::model
mutant claim-desks-before-cells $cclaim 's/(        for cell in 0\.\.self\.cells\.plan\.cells \{\n.*?\n        \}\n)(        for seat .*?\n        \}\n)/$2$1/s' cells::model::slots_of
mutant claim-looks-at-owners-last $cclaim 's/(        for \(\(slot, in_use\), owner\))/        let mut owners = Vec::new();\n        for slot in 0..self.cells.plan.slots {\n            let owner = self.cells.slot(slot)?.owner.load(Ordering::Acquire);\n            owners.push((owner == 0 || is_gone(owner)).then_some(owner));\n        }\n$1/' cells::model::slot_that
mutant slot-claim-by-store $cclaim 's/if word\s*\.compare_exchange\(owner, self\.me, Ordering::Acquire, Ordering::Relaxed\)\s*\.is_ok\(\)/if { word.store(self.me, Ordering::Relaxed); true }/' cells::model::slots_of_the_gone
mutant free-by-store $cclaim 's/&& words\s+\.owner\s+\.compare_exchange\(0, self\.me, Ordering::Acquire, Ordering::Relaxed\)\s+\.is_ok\(\)/&& \{ words.owner.store(self.me, Ordering::Relaxed); true \}/' cells::model

# Cells: waiting.
mutant watcher-fence-dropped $cmodel 's/(let rung = bell\.listen\(\);.*?)fence\(Ordering::SeqCst\);/$1/s' cells::model::watcher
mutant setter-fence-dropped $cmodel 's/(set\(writer, KEY, 2\);\s+)fence\(Ordering::SeqCst\);/$1/' cells::model::watcher
mutant listen-before-doorbell $cbell 's/(\n +let rung = .*?;)(.*?)(\n +self\.waits\.fetch_or.*?;)/$3$1$2/s' cells::model::watcher
mutant ring-takes-back-last $cbell 's/(\n +self\.waits\.fetch_and.*?;)(.*?)(\n +self\.doorbell\.fetch_add.*?;)/$3$2$1/s' cells::model::watcher

exit "$failed"
