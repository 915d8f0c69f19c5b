/// The lines that only one of two lists has, in the order of a reader: `-` for those of the first,
/// `+` for those of the second. A line that moved is both.
pub(super) fn difference<'a>(before: &'a [String], after: &'a [String]) -> Vec<(char, &'a str)> {
    let same = before.iter().zip(after).take_while(|(one, other)| one == other).count();
    let (before, after) = (tail(before, same), tail(after, same));
    let same = before.iter().rev().zip(after.iter().rev());
    let same = same.take_while(|(one, other)| one == other).count();
    compare(head(before, same), head(after, same))
}

fn tail(lines: &[String], skip: usize) -> &[String] {
    lines.get(skip..).unwrap_or_default()
}

fn head(lines: &[String], skip: usize) -> &[String] {
    lines.get(..lines.len().saturating_sub(skip)).unwrap_or_default()
}

/// Walks both lists along a longest common subsequence.
fn compare<'a>(before: &'a [String], after: &'a [String]) -> Vec<(char, &'a str)> {
    let common = common(before, after);
    let at = |i: usize, j: usize| common.get(i * (after.len() + 1) + j).copied().unwrap_or(0);
    let (mut i, mut j, mut changes) = (0, 0, Vec::new());
    loop {
        match (before.get(i), after.get(j)) {
            (Some(one), Some(other)) if one == other => (i, j) = (i + 1, j + 1),
            (Some(one), other) if other.is_none() || at(i + 1, j) >= at(i, j + 1) => {
                changes.push(('-', one.as_str()));
                i += 1;
            }
            (_, Some(other)) => {
                changes.push(('+', other.as_str()));
                j += 1;
            }
            (Some(_) | None, None) => return changes,
        }
    }
}

/// Row by row, the length of the longest common subsequence of what follows each pair of positions.
fn common(before: &[String], after: &[String]) -> Vec<usize> {
    let width = after.len() + 1;
    let mut rows: Vec<Vec<usize>> = vec![vec![0; width]];
    for one in before.iter().rev() {
        let below = rows.last().cloned().unwrap_or_default();
        let mut row = vec![0; width];
        for (j, other) in after.iter().enumerate().rev() {
            let look = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(0);
            let best =
                if one == other { look(&below, j + 1) + 1 } else { look(&below, j).max(look(&row, j + 1)) };
            if let Some(cell) = row.get_mut(j) {
                *cell = best;
            }
        }
        rows.push(row);
    }
    rows.into_iter().rev().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::difference;

    fn check(before: &str, after: &str, expected: &str) {
        let lines = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let (before, after) = (lines(before), lines(after));
        let found = difference(&before, &after);
        let found: Vec<String> = found.iter().map(|(sign, line)| format!("{sign}{line}")).collect();
        assert_eq!(found.join(" "), expected, "{before:?} {after:?}");
    }

    #[test]
    fn lines_lost_won_and_moved() {
        check("", "", "");
        check("a b c", "a b c", "");
        check("a b c", "a c", "-b");
        check("a c", "a b c", "+b");
        check("a b c", "a x c", "-b +x");
        check("a b c d", "b a c d", "-a +a");
        check("a a b", "a b", "-a");
        check("", "a b", "+a +b");
        check("a b", "", "-a -b");
    }
}
