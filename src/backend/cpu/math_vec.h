/* math_vec.h - exp, exp2, tanh and the normal distribution on vectors, in the words of vec_*.h. NaN comes out as NaN.
 * The polynomials were fitted at Chebyshev nodes; their errors are below the rounding of f32. */
#ifndef BACKEND_CPU_MATH_VEC_H
#define BACKEND_CPU_MATH_VEC_H

/* e^x, 0 below -87.3, e^88.37 above; about 1 unit in the last place. */
VEC vf vf_exp(vf x)
{
    vm tiny = vf_lt(x, vf_set(-87.3f));
    x = vf_min(vf_set(88.37f), vf_max(vf_set(-87.3f), x)); /* NaN passes */
    vf n = vf_round(vf_mul(x, vf_set(1.44269504f)));
    vf r = vf_fnma(n, vf_set(0.693359375f), x); /* ln 2 in two parts, the first exact in few bits */
    r = vf_fnma(n, vf_set(-2.12194440e-4f), r);
    vf p = vf_fma(vf_set(0.00139336884f), r, vf_set(0.00836320547f));
    p = vf_fma(p, r, vf_set(0.0416664646f));
    p = vf_fma(p, r, vf_set(0.166665768f));
    p = vf_fma(p, r, vf_set(0.500000001f));
    p = vf_add(vf_fma(vf_mul(r, r), p, r), vf_set(1));
    return vf_if(tiny, vf_zero(), vf_scale2(p, n));
}

/* 2^(x * by) where -125 <= x * by <= 127, within 3e-7 of the value. Adding 1.5 * 2^23 rounds to a whole number, which then stands
 * in the low bits. */
VEC vf vf_exp2_of(vf x, vf by)
{
    const vf whole = vf_set(12582912.0f);
    vf n = vf_fma(x, by, whole), r = vf_fms(x, by, vf_sub(n, whole));
    vf p = vf_fma(vf_set(0.00133908668f), r, vf_set(0.00966637395f));
    p = vf_fma(p, r, vf_set(0.0555035695f));
    p = vf_fma(p, r, vf_set(0.240223482f));
    p = vf_fma(p, r, vf_set(0.693147182f));
    return vf_raise(vf_fma(p, r, vf_set(1)), n);
}

VEC vf vf_tanh(vf x)
{
    vf a = vf_abs(x), z = vf_mul(x, x);
    vf e = vf_exp(vf_mul(a, vf_set(-2)));
    vf far = vf_sign_of(vf_div(vf_sub(vf_set(1), e), vf_add(vf_set(1), e)), x);
    vf p = vf_fma(vf_set(-0.00610494795f), z, vf_set(0.0210036412f));
    p = vf_fma(p, z, vf_set(-0.0538524975f));
    p = vf_fma(p, z, vf_set(0.133327823f));
    p = vf_fma(p, z, vf_set(-0.333333291f));
    vf near = vf_fma(vf_mul(z, p), x, x);
    return vf_if(vf_lt(a, vf_set(0.625f)), near, far);
}

/* P(N(0,1) <= x), by the rational times e^(-x^2/2) of Abramowitz and Stegun 7.1.26; error below 1e-7. */
VEC vf vf_normal(vf x)
{
    vf a = vf_mul(vf_abs(x), vf_set(0.7071067812f));
    vf t = vf_div(vf_set(1), vf_fma(a, vf_set(0.3275911f), vf_set(1)));
    vf p = vf_fma(vf_set(1.061405429f), t, vf_set(-1.453152027f));
    p = vf_fma(p, t, vf_set(1.421413741f));
    p = vf_fma(p, t, vf_set(-0.284496736f));
    p = vf_fma(p, t, vf_set(0.254829592f));
    vf tail = vf_mul(vf_mul(vf_mul(p, t), vf_set(0.5f)), vf_exp(vf_sub(vf_zero(), vf_mul(a, a))));
    return vf_if(vf_lt(x, vf_zero()), tail, vf_sub(vf_set(1), tail));
}

#endif
