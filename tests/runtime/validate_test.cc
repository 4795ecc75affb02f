#include "runtime/config/validate.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/runtime/message_of.h"

namespace annulus::runtime {
namespace {

RunConfig Valid() {
  RunConfig config;
  config.data.synthetic = "recall";
  return config;
}

// What Validate says of the valid configuration changed by `change`, on `ranks` ranks.
std::string ErrorOf(const std::function<void(RunConfig&)>& change, int ranks = 1) {
  RunConfig config = Valid();
  change(config);
  return MessageOf([&] { Validate(config, ranks); });
}

TEST(ValidateTest, ReplacesZerosThatStandForOtherOptions) {
  RunConfig config = Valid();
  Validate(config, 4);
  EXPECT_EQ(config.model.num_key_value_heads, 2);
  EXPECT_EQ(config.model.head_dim, 32);
  EXPECT_EQ(config.model.embedding_initializer_range, 0.02);
  EXPECT_EQ(config.parallel.context_size, 4);
  EXPECT_EQ(config.parallel.ulysses_size, 1);
  const RunConfig once = config;
  Validate(config, 4);
  EXPECT_EQ(config, once);
}

TEST(ValidateTest, KeepsWhatWasSaid) {
  RunConfig config = Valid();
  config.model.num_key_value_heads = 1;
  config.model.head_dim = 50;
  config.model.embedding_initializer_range = 0.2;
  config.parallel.context_size = 2;
  config.parallel.ulysses_size = 1;
  config.train.global_batch_size = 4;
  const RunConfig before = config;
  Validate(config, 8);
  EXPECT_EQ(config, before);
}

TEST(ValidateTest, HeadsMustFit) {
  EXPECT_EQ(ErrorOf([](RunConfig& c) { c.model.hidden_size = 65; }),
            "model.hidden_size = 65 is not a multiple of num_attention_heads = 2; choose 64 or 66, "
            "or set model.head_dim");
  EXPECT_EQ(ErrorOf([](RunConfig& c) { c.model.num_attention_heads = 128; }),
            "model.hidden_size = 64 is not a multiple of num_attention_heads = 128; choose 128, or "
            "set model.head_dim");
  EXPECT_EQ(ErrorOf([](RunConfig& c) {
              c.model.num_attention_heads = 4;
              c.model.num_key_value_heads = 3;
            }),
            "model.num_key_value_heads = 3 does not divide num_attention_heads = 4; choose 1, 2 or "
            "4");
  EXPECT_EQ(ErrorOf([](RunConfig& c) { c.model.num_key_value_heads = 4; }),
            "model.num_key_value_heads = 4 does not divide num_attention_heads = 2; choose 1 or 2");
}

TEST(ValidateTest, HeadSizesAreEven) {
  EXPECT_EQ(ErrorOf([](RunConfig& c) { c.model.head_dim = 33; }),
            "model.head_dim = 33 is odd, but rotary embeddings turn pairs of features; choose 32 "
            "or 34");
  EXPECT_EQ(ErrorOf([](RunConfig& c) { c.model.head_dim = 1; }),
            "model.head_dim = 1 is odd, but rotary embeddings turn pairs of features; choose 2");
  EXPECT_EQ(ErrorOf([](RunConfig& c) { c.model.hidden_size = 66; }),
            "model.head_dim = 33 (hidden_size 66 / num_attention_heads 2) is odd, but rotary "
            "embeddings turn pairs of features; choose 32 or 34");
}

TEST(ValidateTest, OneSourceOfData) {
  EXPECT_EQ(ErrorOf([](RunConfig& c) { c.data.path = "books"; }),
            "data.path = books and data.synthetic = recall are both given; leave one of them out");
  EXPECT_EQ(ErrorOf([](RunConfig& c) { c.data.synthetic = ""; }),
            "nothing says what to train on: give data.path or data.synthetic (to plan without "
            "data, model.vocab_size is enough)");
  RunConfig config;
  config.model.vocab_size = 1000;
  EXPECT_NO_THROW(Validate(config, 1));
}

TEST(ValidateTest, EvaluationNeedsHeldOutData) {
  EXPECT_EQ(ErrorOf([](RunConfig& c) {
              c.data = {.path = "books", .synthetic = "", .held_out_fraction = 0};
              c.train.eval_every = 10;
            }),
            "train.eval_every = 10 evaluates on held-out data, but data.held_out_fraction = 0 "
            "holds out none; set it above 0 or leave eval_every out");
}

TEST(ValidateTest, ContextSizeDividesTheRanks) {
  EXPECT_EQ(ErrorOf([](RunConfig& c) { c.parallel.context_size = 4; }, 6),
            "parallel.context_size = 4 does not divide 6 ranks; choose 1, 2, 3 or 6");
  EXPECT_EQ(ErrorOf([](RunConfig& c) { c.parallel.context_size = 2; }, 1),
            "parallel.context_size = 2 does not divide 1 ranks; choose 1");
  EXPECT_EQ(ErrorOf([](RunConfig& c) { c.ranks = 4; }, 2),
            "ranks = 4, but 2 were started; leave ranks out or start as many");
}

TEST(ValidateTest, NcclIsForGpus) {
  EXPECT_EQ(ErrorOf([](RunConfig& c) { c.parallel.transport = TransportKind::kNccl; }, 2),
            "parallel.transport = nccl carries tensors of GPUs, but device.kind = cpu; choose "
            "device.kind = cuda, or leave parallel.transport = auto");
}

TEST(ValidateTest, GpusReadNoKeysInPlace) {
  RunConfig config = Valid();
  config.device.kind = DeviceKind::kCuda;
  Validate(config, 2);
  EXPECT_EQ(config.parallel.shared_memory, SharedMemory::kOff);
  EXPECT_EQ(ErrorOf([](RunConfig& c) {
              c.device.kind = DeviceKind::kCuda;
              c.parallel.shared_memory = SharedMemory::kOn;
            }),
            "parallel.shared_memory = on is for keys in the memory of hosts, and device.kind = "
            "cuda keeps them in that of GPUs; leave it out");
}

TEST(ValidateTest, EveryRankHoldsATokenInEveryPhase) {
  EXPECT_EQ(ErrorOf([](RunConfig& c) { c.train.sequence_length = 4; }, 8),
            "parallel.context_size = 8 ranks share sequences of 4 tokens: some would hold none; "
            "choose at most 4 ranks or longer sequences");
  EXPECT_EQ(ErrorOf(
                [](RunConfig& c) {
                  c.train.context_schedule = {{4, 60}, {1024, 40}};
                },
                8),
            "parallel.context_size = 8 ranks share sequences of 4 tokens: some would hold none; "
            "choose at most 4 ranks or longer sequences");
}

TEST(ValidateTest, BatchesDivideEvenly) {
  EXPECT_EQ(ErrorOf(
                [](RunConfig& c) {
                  c.parallel.context_size = 1;
                  c.train.global_batch_size = 3;
                },
                2),
            "train.global_batch_size = 3 is not a multiple of 2: 2 data-parallel groups x "
            "micro_batch_size 1; choose 2 or 4");
  EXPECT_EQ(ErrorOf([](RunConfig& c) { c.train.micro_batch_size = 2; }),
            "train.global_batch_size = 1 is not a multiple of 2: 1 data-parallel group x "
            "micro_batch_size 2; choose 2");
}

TEST(ValidateTest, PhasesDivideTheMicroBatch) {
  EXPECT_EQ(ErrorOf([](RunConfig& c) {
              c.train.context_schedule = {{300, 60}, {1024, 40}};
            }),
            "train.context_schedule: length 300 does not divide the 1024 tokens of a micro batch "
            "(micro_batch_size 1 x sequence_length 1024); choose lengths that do");
  RunConfig config = Valid();
  config.train.global_batch_size = 6;
  config.train.micro_batch_size = 3;
  config.train.context_schedule = {{3072, 50}, {384, 10}, {1024, 40}};
  EXPECT_NO_THROW(Validate(config, 2));
  EXPECT_EQ(config.train.GlobalBatch(3072), 2);
  EXPECT_EQ(config.train.MicroBatch(384), 8);
}

TEST(ValidateTest, SchedulesAgreeWithStepsAndLength) {
  EXPECT_EQ(ErrorOf([](RunConfig& c) {
              c.train.context_schedule = {{512, 100}};
            }),
            "train.context_schedule = 512:100 takes 100 steps and ends at length 512, but "
            "train.steps = 100 and train.sequence_length = 1024");
  EXPECT_EQ(ErrorOf([](RunConfig& c) {
              c.train.context_schedule = {{1024, 99}};
            }),
            "train.context_schedule = 1024:99 takes 99 steps and ends at length 1024, but "
            "train.steps = 100 and train.sequence_length = 1024");
}

TEST(ValidateTest, LearningRatesMakeSense) {
  EXPECT_EQ(ErrorOf([](RunConfig& c) { c.optimizer.min_learning_rate = 0.1; }),
            "optimizer.min_learning_rate = 0.1 is above learning_rate = 0.001");
  EXPECT_EQ(ErrorOf([](RunConfig& c) {
              c.optimizer.min_learning_rate = 1e-4;
              c.optimizer.decay = Decay::kConstant;
            }),
            "optimizer.min_learning_rate = 0.0001 is never reached with decay=constant; leave it "
            "out or choose decay=linear or cosine");
  EXPECT_EQ(ErrorOf([](RunConfig& c) { c.optimizer.warmup_steps = 101; }),
            "optimizer.warmup_steps = 101 is more than the 100 steps of the run");
}

TEST(ValidateTest, TheSmallestRunsAreValid) {
  RunConfig config = Valid();
  config.model.hidden_size = 2;
  config.model.num_attention_heads = 1;
  config.train.sequence_length = 1;
  config.train.steps = 1;
  config.optimizer.warmup_steps = 1;
  EXPECT_NO_THROW(Validate(config, 1));
  EXPECT_THROW(Validate(config, 0), InternalError);
}

}  // namespace
}  // namespace annulus::runtime
