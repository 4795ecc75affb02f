#include "tests/kernels/every_device.h"
#include "tests/kernels/test_tensor.h"
#include "tests/reference/layer_reference.h"

namespace annulus::kernels::testing {
namespace {

AdamWArgs Options(int64_t step) {
  AdamWArgs args;
  args.step = step;
  args.learning_rate = 0.01f;
  args.weight_decay = 0.1f;
  args.gradient_scale = 0.25f;
  return args;
}

template <class Real>
reference::AdamWState<Real> Stepped(const AdamWArgs& args, const TestTensor& gradient,
                                    const TestTensor& parameter, const TestTensor& first_moment,
                                    const TestTensor& second_moment) {
  reference::AdamWState<Real> state{parameter.As<Real>(), first_moment.As<Real>(),
                                    second_moment.As<Real>()};
  reference::AdamW<Real>({args.step, args.learning_rate, args.beta1, args.beta2, args.eps,
                          args.weight_decay, args.gradient_scale},
                         gradient.As<Real>(), state);
  return state;
}

class AdamW : public EveryDevice {};

TEST_P(AdamW, MatchesReference) {
  for (int64_t size : {1, 3, 17, 63, 64, 65, 1000, 40000}) {
    for (int64_t step : {1, 2, 1000, 1000000}) {
      SCOPED_TRACE(fmt::format("{} elements, step {}", size, step));
      TestTensor gradient = TestTensor::Random({size}, 1);
      const TestTensor parameter = TestTensor::Random({size}, 2);
      const TestTensor first = TestTensor::Random({size}, 3, 0.1f);
      TestTensor second = TestTensor::Random({size}, 4, 0.1f);
      for (float& value : second.values()) value = std::abs(value);
      AdamWArgs args = Options(step);
      const auto got = SameForAnyThreads([&](int threads) {
        TestTensor p = parameter, m = first, v = second;
        args.parameter = p.view();
        args.gradient = gradient.view();
        args.first_moment = m.view();
        args.second_moment = v.view();
        Table(threads).AdamW(args);
        return Results{p.values(), m.values(), v.values()};
      });
      const auto truth = Stepped<double>(args, gradient, parameter, first, second);
      const auto plain = Stepped<float>(args, gradient, parameter, first, second);
      ExpectAsGoodAsPlain(got[0], truth.parameter, plain.parameter, "parameter");
      ExpectAsGoodAsPlain(got[1], truth.first_moment, plain.first_moment, "first moment");
      ExpectAsGoodAsPlain(got[2], truth.second_moment, plain.second_moment, "second moment");
    }
  }
}

TEST_P(AdamW, WorkingCopyIsTheParameterRounded) {
  for (int64_t size : {1, 3, 17, 63, 64, 65, 1000, 40000}) {
    SCOPED_TRACE(size);
    TestTensor gradient = TestTensor::Random({size}, 1);
    const TestTensor parameter = TestTensor::Random({size}, 2);
    const TestTensor moment = TestTensor::Random({size}, 3, 0.1f);
    TestTensor squares = moment;
    for (float& value : squares.values()) value *= value;
    const auto update = [&](int threads, View working) {
      TestTensor p = parameter, m = moment, v = squares;
      AdamWArgs args = Options(3);
      args.parameter = p.view();
      args.gradient = gradient.view();
      args.first_moment = m.view();
      args.second_moment = v.view();
      args.working = working;
      Table(threads).AdamW(args);
      return Results{p.values(), m.values(), v.values()};
    };
    const Results alone = update(1, View());
    const auto got = SameForAnyThreads([&](int threads) {
      TensorOf<BFloat16> working({size});
      Results results = update(threads, working.view());
      results.push_back(working.As<float>());
      return results;
    });
    for (size_t i = 0; i < alone.size(); ++i) ExpectSameBits(got[i], alone[i], "the update");
    ExpectSameBits(got[3], RoundedTo<BFloat16>(alone[0]), "working copy");
  }
}

ANNULUS_ON_EVERY_DEVICE(AdamW);

}  // namespace
}  // namespace annulus::kernels::testing
