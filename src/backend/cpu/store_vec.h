/* store_vec.h - writing keys and values into pages, in the words of vec_*.h and attend_*.h. The plain versions in attend.c define
 * it; int8 codes are the same bits. */
#ifndef BACKEND_CPU_STORE_VEC_H
#define BACKEND_CPU_STORE_VEC_H

static void vec_quantize(int8_t *codes, const float *x, int n, float *scale, int32_t *total)
{
    vf top = vf_zero();
    unsigned odd = 0;
    for (int i = 0; i < n; i += VW) {
        vf a = vf_abs(i + VW <= n ? vf_load(x + i) : vf_load_n(x + i, n - i));
        odd |= vm_bits(vf_le(a, vf_set(FLT_MAX))) ^ ((1u << VW) - 1);
        top = vf_max(top, a);
    }
    float amax = odd ? 0 : vf_top(top);
    *scale = odd ? NAN : amax < ATTN_TINY ? 0 : amax / 127;
    *total = 0;
    vf by = vf_set(amax < ATTN_TINY ? 0 : 127 / amax);
    for (int i = 0; i < n; i += VW) {
        vf z = odd ? vf_zero() : vf_mul(i + VW <= n ? vf_load(x + i) : vf_load_n(x + i, n - i), by);
        *total += vf_whole_sum(z);
        if (i + VW <= n) {
            vf_to_i8(codes + i, z);
        } else {
            int8_t rest[VW];
            vf_to_i8(rest, z);
            memcpy(codes + i, rest, (size_t)(n - i));
        }
    }
}

static void store_i8(char *k_page, char *v_page, const float *k, const float *v, int dim, int slot)
{
    int8_t codes[ATTN_DIM_MAX + 4] = { 0 };
    int dim_pad = (dim + 15) & ~15, dim4 = (dim + 3) & ~3;
    int32_t total;
    vec_quantize(codes, k, dim, (float *)(void *)(k_page + dim4 * KV_PAGE) + slot, &total);
    for (int i = 0; i < dim4; i += 4) memcpy(k_page + i * KV_PAGE + slot * 4, codes + i, 4);
    vec_quantize((int8_t *)v_page + slot * dim_pad, v, dim, (float *)(void *)(v_page + dim_pad * KV_PAGE) + slot,
                 &total);
    memset(v_page + slot * dim_pad + dim, 0, (size_t)(dim_pad - dim));
}

static void vec_kv_store(void *k_page, void *v_page, const float *k, const float *v, int dim, int slot, DType t)
{
    if (t == DT_I8) {
        store_i8(k_page, v_page, k, v, dim, slot);
        return;
    }
    if (t != DT_F16) {
        plain_kv_store(k_page, v_page, k, v, dim, slot, t);
        return;
    }
    int dim_pad = (dim + 15) & ~15;
    uint16_t *kp = (uint16_t *)k_page + slot, *vp = (uint16_t *)v_page + slot * dim_pad, half[VW];
    vf big = vf_set(65504);
    for (int i = 0; i < dim_pad; i += VW) {
        int n = MIN(VW, dim - i);
        if (n < 1) { /* the last vector of a short head */
            vf_to_f16(vp + i, vf_zero());
            continue;
        }
        vf small = vf_sub(vf_zero(), big);
        vf_to_f16(half, vf_min(big, vf_max(small, vf_load_n(k + i, n))));
        for (int j = 0; j < n; j++) kp[(i + j) * KV_PAGE] = half[j];
        vf_to_f16(vp + i, vf_min(big, vf_max(small, vf_load_n(v + i, n))));
    }
}

#endif
