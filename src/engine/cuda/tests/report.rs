//! What ptxas says of the kernels' machine code.

/// Registers and spilled bytes of every kernel, for every architecture, as (kernel, registers, spills).
fn kernels() -> Vec<(String, usize, usize)> {
    let report = include_str!(concat!(env!("OUT_DIR"), "/ptxas.txt"));
    let number = |text: &str| -> usize {
        let digits = text.trim().split(' ').next().unwrap();
        digits.parse().unwrap()
    };
    let (mut found, mut name, mut spills) = (Vec::new(), String::new(), 0);
    for line in report.lines() {
        if let Some((_, rest)) = line.split_once("Function properties for ") {
            name = rest.trim().to_owned();
        } else if let Some((before, _)) = line.split_once(" bytes spill stores") {
            spills = number(before.rsplit(',').next().unwrap());
        } else if let Some((_, rest)) = line.split_once(": Used ") {
            found.push((name.clone(), number(rest), spills));
        }
    }
    found
}

#[test]
fn no_kernel_spills_registers_to_memory() {
    let kernels = kernels();
    assert!(kernels.len() >= 31, "{}", kernels.len());
    for (name, registers, spills) in kernels {
        println!("{name}: {registers} registers, {spills} bytes spilled");
        assert_eq!(spills, 0, "{name} spills");
    }
}

/// Blocks of 128 threads: three of them, and so 12 warps, share a multiprocessor's 65,536 registers.
#[test]
fn attention_leaves_registers_for_three_blocks() {
    for (name, registers, _) in kernels() {
        if name.contains("attention") || name.contains("disentangled") {
            assert!(registers <= 168, "{name} uses {registers} registers");
        }
    }
}
