// normal_quantile.h
//
// The quantile function of the normal distribution in its middle, with
// + - * / only, so that every machine and stock TensorFlow ops compute the
// same bits.

#ifndef MONOLITH_TF_OPS_CC_TABLE_NORMAL_QUANTILE_H_
#define MONOLITH_TF_OPS_CC_TABLE_NORMAL_QUANTILE_H_

namespace monolith_tf {

// The probability between two deviations below and above the mean.
inline constexpr double kTwoDeviationsProbability = 0.95449973610364158;

// z(q) = q * P(q^2) / Q(q^2), lowest power first: a minimax fit (weighted
// linear least squares, reweighted) of the quantile at 0.5 + q over
// |q| <= kTwoDeviationsProbability / 2. Largest absolute error 1.2e-8.
inline constexpr double kNormalQuantileP[6] = {
    2.5066279562704885,  -27.112432749290186, 102.27837891812257,
    -151.18237307332038, 59.37191413182662,   11.360805511130538};
inline constexpr double kNormalQuantileQ[5] = {
    1.0, -11.863510035823364, 50.92438607034864, -92.58369218676437,
    58.878065804022434};

// The quantile at 0.5 + q.
inline double NormalQuantile(double q) {
  const double r = q * q;
  double p = kNormalQuantileP[5];
  for (int i = 4; i >= 0; --i) p = p * r + kNormalQuantileP[i];
  double d = kNormalQuantileQ[4];
  for (int i = 3; i >= 0; --i) d = d * r + kNormalQuantileQ[i];
  return q * p / d;
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_NORMAL_QUANTILE_H_
