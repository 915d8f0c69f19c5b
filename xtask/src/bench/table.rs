//! Medians and ratios, at most 80 columns wide.

use straddle_lab::LabError;

use super::median;

/// What one way has measured: for each figure a number from each round.
pub(super) type Way = Vec<Vec<f64>>;

/// Measures each way once in each round, so often: `one` is told which, and answers its figures in their order.
pub(super) fn rounds<T: Copy, const N: usize>(
    (what, times): (&str, usize),
    names: [&str; N],
    ways: &mut [Way; N],
    by: [T; N],
    mut one: impl FnMut(T) -> Result<Vec<f64>, LabError>,
) -> Result<(), LabError> {
    for round in 1..=times {
        for ((way, by), name) in ways.iter_mut().zip(by).zip(names) {
            eprintln!("... {what}: round {round} of {times}, {name}");
            way.iter_mut().zip(one(by)?).for_each(|(list, figure)| list.push(figure));
        }
    }
    Ok(())
}

/// Prints a line for each figure: the medians of all three ways, and the ratios of the first, which is
/// under test, to the two others.
pub(super) fn print(names: [&str; 3], figures: &[&str], ways: &[Way; 3]) {
    let [tested, plain, other] = names;
    println!(
        "{:24}{tested:>10}{plain:>10}{other:>10}{:>13}{:>13}",
        "",
        format!("of {plain}"),
        format!("of {other}")
    );
    for (index, figure) in figures.iter().enumerate() {
        let medians = ways.each_ref().map(|way| way.get(index).map_or(f64::NAN, |list| median(list)));
        let [mine, plain, other] = medians;
        println!(
            "{figure:24}{mine:>10.2}{plain:>10.2}{other:>10.2}{:>13.2}{:>13.2}",
            mine / plain,
            mine / other
        );
    }
}

/// Prints how near plain forwarding comes to the cable, which is as much as the load generator itself can do.
pub(super) fn print_limit(other: &str, figures: &[&str], ways: &[Way; 3]) {
    println!("How much of what the load generator can do by a cable plain forwarding leaves\n");
    print(["plain", "cable", other], figures, ways);
}

/// Prints every number, for whoever doubts a median.
pub(super) fn print_rounds<const N: usize>(names: [&str; N], figures: &[&str], ways: &[Way; N]) {
    println!("\nall rounds:");
    for (index, figure) in figures.iter().enumerate() {
        println!("  {figure}");
        for (name, way) in names.iter().zip(ways) {
            let list = way.get(index).map_or(&[][..], Vec::as_slice);
            let numbers: String = list.iter().map(|number| format!("{number:>8.2}")).collect();
            println!("    {name:14}{numbers}");
        }
    }
}
