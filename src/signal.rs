//! Windows of signals and their frequencies.

use crate::error::{Error, Result, ensure};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The weights of the values of a frame, which fade it out at its ends.
///
/// ```
/// use cornu::initializers::SignalWindow;
/// assert_eq!(SignalWindow::from("hann").values(5, false)?, [0.0, 0.5, 1.0, 0.5, 0.0]);
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SignalWindow {
    /// By SciPy's name: `hann`, `hamming`, `blackman`, `bartlett`, `boxcar`, `triang`, `cosine`, `nuttall`,
    /// `blackmanharris` or `flattop`.
    Named(String),
    /// A weight for each value of a frame.
    Values(Vec<f64>),
}

impl From<&str> for SignalWindow {
    fn from(name: &str) -> Self {
        SignalWindow::Named(name.to_owned())
    }
}

impl From<Vec<f64>> for SignalWindow {
    fn from(values: Vec<f64>) -> Self {
        SignalWindow::Values(values)
    }
}

const NAMES: [&str; 10] =
    ["hann", "hamming", "blackman", "bartlett", "boxcar", "triang", "cosine", "nuttall", "blackmanharris", "flattop"];

impl SignalWindow {
    /// The weights of `n` values. A periodic window is one of `n + 1` values without the last, for frames that follow
    /// each other.
    ///
    /// # Errors
    /// When nothing has the name, or the weights are not `n`.
    pub fn values(&self, n: usize, periodic: bool) -> Result<Vec<f64>> {
        let name = match self {
            SignalWindow::Values(values) => {
                ensure!(values.len() == n, Shape, "the window has {} values for frames of {n}", values.len());
                return Ok(values.clone());
            }
            SignalWindow::Named(name) => name.as_str(),
        };
        let all = if periodic { n + 1 } else { n };
        let m = all as f64;
        // Sums of cosines over the frame, from minus a half to a half turn.
        let cosines = |factors: &[f64]| {
            let angle = |i: usize| PI * (2.0 * i as f64 / (m - 1.0) - 1.0);
            let value = |i: usize| factors.iter().enumerate().map(|(k, a)| a * (k as f64 * angle(i)).cos()).sum();
            (0..n).map(value).collect()
        };
        let each = |value: &dyn Fn(f64) -> f64| (0..n).map(|i| value(i as f64)).collect::<Vec<f64>>();
        Ok(match name {
            _ if !NAMES.contains(&name) => return Err(Error::unknown_name("window", name, NAMES)),
            // Of one value all are 1, as in SciPy.
            _ if n == 1 => vec![1.0],
            "hamming" => cosines(&[0.54, 0.46]),
            "blackman" => cosines(&[0.42, 0.5, 0.08]),
            "nuttall" => cosines(&[0.3635819, 0.4891775, 0.1365995, 0.0106411]),
            "blackmanharris" => cosines(&[0.35875, 0.48829, 0.14128, 0.01168]),
            "flattop" => cosines(&[0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368]),
            "bartlett" => each(&|i| 1.0 - (2.0 * i / (m - 1.0) - 1.0).abs()),
            "triang" => {
                let width = m + m % 2.0;
                each(&|i| {
                    let from_end = (i + 1.0).min(m - i);
                    (2.0 * from_end - (1.0 - m % 2.0)) / width
                })
            }
            "cosine" => each(&|i| (PI / m * (i + 0.5)).sin()),
            "boxcar" => vec![1.0; n],
            _ => cosines(&[0.5, 0.5]),
        })
    }

    /// Whether something has the name.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            SignalWindow::Named(_) => self.values(1, false).map(|_| ()),
            SignalWindow::Values(_) => Ok(()),
        }
    }
}

/// The frequencies 0 to `n / 2` of real signals of `n` values: `sum(x[t] * e^(-2πi f t / n))`.
pub(crate) struct Fourier {
    n: usize,
    /// `cos` and `-sin` of `2π k / n`.
    turns: Vec<[f64; 2]>,
}

impl Fourier {
    pub fn new(n: usize) -> Self {
        let turn = |k: usize| {
            let angle = 2.0 * PI * k as f64 / n as f64;
            [angle.cos(), -angle.sin()]
        };
        Fourier { n, turns: (0..n).map(turn).collect() }
    }

    /// Real and imaginary part of each frequency.
    pub fn of(&self, x: &[f64]) -> Vec<[f64; 2]> {
        let n = self.n;
        let mut all = if n.is_power_of_two() { self.halves(x, 1, n) } else { self.sums(x) };
        all.truncate(n / 2 + 1);
        all
    }

    /// By definition, for lengths that cannot be halved.
    fn sums(&self, x: &[f64]) -> Vec<[f64; 2]> {
        let one = |f: usize| {
            let terms = x.iter().enumerate().map(|(t, x)| (x, self.turns[f * t % self.n]));
            terms.fold([0.0, 0.0], |[re, im], (x, [cos, sin])| [re + x * cos, im + x * sin])
        };
        (0..=self.n / 2).map(one).collect()
    }

    /// Of every `step`-th value, from those of the even and of the odd ones.
    fn halves(&self, x: &[f64], step: usize, n: usize) -> Vec<[f64; 2]> {
        if n == 1 {
            return vec![[x[0], 0.0]];
        }
        let (even, odd) = (self.halves(x, 2 * step, n / 2), self.halves(&x[step..], 2 * step, n / 2));
        let turned = |k: usize| {
            let ([cos, sin], [re, im]) = (self.turns[k * step], odd[k]);
            [re * cos - im * sin, re * sin + im * cos]
        };
        let sum = |k: usize, sign: f64| [even[k][0] + sign * turned(k)[0], even[k][1] + sign * turned(k)[1]];
        (0..n / 2).map(|k| sum(k, 1.0)).chain((0..n / 2).map(|k| sum(k, -1.0))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::FRAC_1_SQRT_2;

    /// SciPy 1.17.
    #[test]
    fn windows_are_those_of_scipy() {
        for (name, periodic, want) in WINDOWS {
            let got = SignalWindow::from(*name).values(want.len(), *periodic).unwrap();
            for (got, want) in got.iter().zip(*want) {
                assert!((got - want).abs() < 1e-9, "{name} {periodic}: {got} {want}");
            }
        }
        assert_eq!(SignalWindow::from("flattop").values(1, true).unwrap(), [1.0]);
        assert!(SignalWindow::from("han").check().unwrap_err().to_string().contains("did you mean 'hann'"));
        assert!(SignalWindow::from(vec![1.0, 2.0]).values(3, false).is_err());
    }

    #[test]
    fn frequencies_are_sums_of_waves() {
        for n in [1, 2, 8, 12, 15, 32] {
            let x: Vec<f64> = (0..n).map(|t| ((t * 7 % 11) as f64 - 4.0) / 3.0).collect();
            let fourier = Fourier::new(n);
            let (fast, sums) = (fourier.of(&x), fourier.sums(&x));
            assert_eq!(fast.len(), n / 2 + 1);
            for (a, b) in fast.iter().zip(&sums) {
                assert!((a[0] - b[0]).abs() < 1e-12 && (a[1] - b[1]).abs() < 1e-12, "{n}");
            }
        }
        let wave: Vec<f64> = (0..16).map(|t| (2.0 * PI * 3.0 * f64::from(t) / 16.0).sin()).collect();
        for (f, [re, im]) in Fourier::new(16).of(&wave).into_iter().enumerate() {
            let want = if f == 3 { -8.0 } else { 0.0 };
            assert!(re.abs() < 1e-12 && (im - want).abs() < 1e-12, "{f}");
        }
    }

    const WINDOWS: &[(&str, bool, &[f64])] = &[
        ("hann", false, &[0.0, 0.345491502813, 0.904508497187, 0.904508497187, 0.345491502813, 0.0]),
        ("hann", true, &[0.0, 0.25, 0.75, 1.0, 0.75, 0.25]),
        ("hann", false, &[0.0, 0.25, 0.75, 1.0, 0.75, 0.25, 0.0]),
        (
            "hann",
            true,
            &[0.0, 0.188255099071, 0.611260466978, 0.950484433951, 0.950484433951, 0.611260466978, 0.188255099071],
        ),
        ("hamming", false, &[0.08, 0.397852182588, 0.912147817412, 0.912147817412, 0.397852182588, 0.08]),
        (
            "hamming",
            true,
            &[0.08, 0.253194691145, 0.64235962962, 0.954445679235, 0.954445679235, 0.64235962962, 0.253194691145],
        ),
        (
            "blackman",
            false,
            &[-1.38777878078e-17, 0.200770143263, 0.849229856737, 0.849229856737, 0.200770143263, -1.38777878078e-17],
        ),
        (
            "blackman",
            true,
            &[
                -1.38777878078e-17,
                0.0904534243541,
                0.459182957546,
                0.9203636181,
                0.9203636181,
                0.459182957546,
                0.0904534243541,
            ],
        ),
        ("bartlett", false, &[0.0, 0.4, 0.8, 0.8, 0.4, 0.0]),
        (
            "bartlett",
            true,
            &[0.0, 0.285714285714, 0.571428571429, 0.857142857143, 0.857142857143, 0.571428571429, 0.285714285714],
        ),
        ("boxcar", false, &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("boxcar", true, &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("triang", false, &[0.166666666667, 0.5, 0.833333333333, 0.833333333333, 0.5, 0.166666666667]),
        ("triang", true, &[0.25, 0.5, 0.75, 1.0, 0.75, 0.5]),
        ("triang", false, &[0.25, 0.5, 0.75, 1.0, 0.75, 0.5, 0.25]),
        ("triang", true, &[0.125, 0.375, 0.625, 0.875, 0.875, 0.625, 0.375]),
        (
            "cosine",
            false,
            &[0.258819045103, FRAC_1_SQRT_2, 0.965925826289, 0.965925826289, FRAC_1_SQRT_2, 0.258819045103],
        ),
        ("cosine", true, &[0.222520933956, 0.623489801859, 0.900968867902, 1.0, 0.900968867902, 0.623489801859]),
        (
            "cosine",
            false,
            &[0.222520933956, 0.623489801859, 0.900968867902, 1.0, 0.900968867902, 0.623489801859, 0.222520933956],
        ),
        (
            "cosine",
            true,
            &[
                0.195090322016,
                0.55557023302,
                0.831469612303,
                0.980785280403,
                0.980785280403,
                0.831469612303,
                0.55557023302,
            ],
        ),
        ("nuttall", false, &[0.0003628, 0.11051525305, 0.79825809695, 0.79825809695, 0.11051525305, 0.0003628]),
        (
            "nuttall",
            true,
            &[
                0.0003628,
                0.0377757689535,
                0.342727619969,
                0.891851861078,
                0.891851861078,
                0.342727619969,
                0.0377757689535,
            ],
        ),
        ("blackmanharris", false, &[6e-05, 0.103011489346, 0.793833510654, 0.793833510654, 0.103011489346, 6e-05]),
        (
            "blackmanharris",
            true,
            &[6e-05, 0.0333917234782, 0.332833504299, 0.889369772223, 0.889369772223, 0.332833504299, 0.0333917234782],
        ),
        (
            "flattop",
            false,
            &[-0.000421051, -0.0677142520762, 0.606872152576, 0.606872152576, -0.0677142520762, -0.000421051],
        ),
        (
            "flattop",
            true,
            &[
                -0.000421051,
                -0.0368407811549,
                0.0107037167162,
                0.780873914939,
                0.780873914939,
                0.0107037167162,
                -0.0368407811549,
            ],
        ),
    ];
}
